"""Who closed the channel: one in flight is the culprit, several are suspects until they are through."""

import pytest

from taskq.broker.amqp.suspects import Suspects

MOST = 4096


@pytest.mark.parametrize(
    ("in_flight", "left", "culprit", "window"),
    [
        ("", "", False, MOST),
        ("a", "a", True, MOST),
        ("a", "", True, MOST),
        ("ab", "ab", False, 1),
        ("ab", "b", False, 1),
        ("ab", "", False, MOST),
    ],
    ids=["none", "one", "one given up", "two", "two, one given up", "two given up"],
)
def test_what_a_closed_channel_says(in_flight: str, left: str, culprit: bool, window: int) -> None:
    suspects = Suspects[str](MOST)
    assert suspects.closed(in_flight, left) is culprit
    assert suspects.window == window


def test_the_window_opens_when_the_last_suspect_is_through() -> None:
    suspects = Suspects[str](MOST)
    suspects.closed("abc", "abc")
    for through, window in [("a", 1), ("x", 1), ("a", 1), ("c", 1), ("b", MOST), ("b", MOST)]:
        suspects.absolve(through)
        assert suspects.window == window, through


def test_the_culprit_is_found_one_by_one() -> None:
    suspects = Suspects[str](MOST)
    assert not suspects.closed("abc", "abc")
    suspects.absolve("a")
    assert suspects.closed("b", "b")
    suspects.absolve("b")
    assert suspects.window == 1
    suspects.absolve("c")
    assert suspects.window == MOST


def test_a_channel_that_closes_with_nothing_in_flight_changes_nothing() -> None:
    suspects = Suspects[str](MOST)
    suspects.closed("ab", "ab")
    assert not suspects.closed("", "")
    assert suspects.window == 1
