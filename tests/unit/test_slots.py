"""How many jobs of each queue a worker runs at a time."""

import pytest

from taskq import UsageError
from taskq.worker.slots import resolve_slots

OWN = {"a": None, "b": 5}


@pytest.mark.parametrize(
    ("chosen", "concurrency", "slots"),
    [
        (None, None, {"a": 2, "b": 5}),
        (None, 9, {"a": 9, "b": 9}),
        ({"b": None}, None, {"b": 5}),
        ({"b": None}, 9, {"b": 9}),
        ({"a": 7, "b": None}, None, {"a": 7, "b": 5}),
        ({"a": 7, "b": 1}, 9, {"a": 7, "b": 1}),
    ],
)
def test_number_given_with_the_queue_goes_before_all_and_the_default_behind_all(
    chosen: dict[str, int | None] | None, concurrency: int | None, slots: dict[str, int]
) -> None:
    assert resolve_slots(OWN, chosen, concurrency, 2) == slots


@pytest.mark.parametrize(
    ("own", "chosen", "concurrency", "says"),
    [
        ({}, None, None, "no task or subscription to work on"),
        (OWN, {}, None, "name at least one queue"),
        (OWN, {"c": None, "a": 1}, None, "'c'; the app has a, b"),
        (OWN, {"a": 0}, None, "queue 'a': a concurrency of 0"),
        (OWN, None, -1, "1 to 65535"),
        (OWN, None, 65_536, "1 to 65535"),
    ],
)
def test_what_cannot_be_worked_on_is_refused_with_a_text_that_says_why(
    own: dict[str, int | None], chosen: dict[str, int | None] | None, concurrency: int | None, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        resolve_slots(own, chosen, concurrency, 1)
