"""Routing: the four kinds of exchanges, by examples and against a model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskq.broker.routing import matches
from taskq.tasks.exchanges import Binding, ExchangeKind, Match
from taskq.tasks.options import HeaderValue
from tests.support.topologies import EXCHANGE_KINDS, HEADERS, KEYS, Drawn, bindings_of, passes, topologies


def topic(pattern: str, key: str) -> bool:
    return matches("topic", Binding(exchange="e", queue="q", key=pattern), key, {})


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("*", ["a", "*", "#"], ["", "a.b", "."]),
        ("#", ["", "a", "a.b", "..", "#"], []),
        ("a.*", ["a.b", "a."], ["a", "a.b.c", "b.a", "a..", "A.b"]),
        ("*.a", ["b.a", ".a"], ["a", "a.b", "..a"]),
        ("a.#", ["a", "a.b", "a.b.c", "a.", "a.."], ["", "b", "ab", "b.a"]),
        ("#.a", ["a", "b.a", ".a", "a.a"], ["", "a.b", "a."]),
        ("a.#.b", ["a.b", "a.c.b", "a.b.b", "a..b", "a.b.a.b"], ["a", "b", "a.b.c", "ab"]),
        ("#.a.#.b.#", ["a.b", "b.a.b", "a.a.c.b.c"], ["b.a", "a", "b"]),
        ("#.*", ["a", "a.b", "."], [""]),
        ("*.#.*", ["a.b", "a.b.c", "."], ["", "a"]),
        ("", [""], ["a", "."]),
        ("a*", ["a*"], ["ab", "a"]),
        ("a.b", ["a.b"], ["a", "b", "axb", "a.b.", ".a.b"]),
    ],
)
def test_topic_patterns(pattern: str, fitting: list[str], others: list[str]) -> None:
    assert [key for key in fitting + others if topic(pattern, key)] == fitting


def test_many_hashes_cost_no_more_than_the_product_of_both_lengths() -> None:
    assert not topic("#.a." * 40 + "b", "a." * 125 + "a")
    assert topic("#.a." * 40 + "#", "a." * 125 + "a")


@pytest.mark.parametrize(
    ("wanted", "value", "same"),
    [
        ("1", "1", True),
        ("a", "A", False),
        (1, 1, True),
        (1, 1.0, True),
        (0.5, 0.5, True),
        (1, "1", False),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        (False, 0, False),
        (False, "", False),
        ("", None, False),
        ("a", ["a"], False),
    ],
)
def test_header_values_are_equal_as_rabbitmq_has_it(wanted: HeaderValue, value: object, same: bool) -> None:
    binding = Binding(exchange="e", queue="q", headers={"h": wanted})
    assert matches("headers", binding, "", {"h": value}) is same


@pytest.mark.parametrize(
    ("match", "headers", "fits"),
    [
        ("all", {"a": 1, "b": 2}, True),
        ("all", {"a": 1, "b": 2, "c": 3}, True),
        ("all", {"a": 1}, False),
        ("all", {"a": 1, "b": 1}, False),
        ("any", {"a": 1}, True),
        ("any", {"a": 2, "b": 2}, True),
        ("any", {"a": 2}, False),
        ("any", {}, False),
        ("any", {"x-own": 1}, False),
    ],
)
def test_all_or_any_of_the_headers_and_those_of_x_are_ignored(
    match: Match, headers: dict[str, object], fits: bool
) -> None:
    binding = Binding(exchange="e", queue="q", headers={"a": 1, "b": 2, "x-own": 1}, match=match)
    assert matches("headers", binding, "", headers) is fits


@given(EXCHANGE_KINDS, st.data())
@settings(max_examples=1_000)
def test_matching_is_that_of_the_model(kind: ExchangeKind, data: st.DataObject) -> None:
    binding, key, headers = data.draw(bindings_of(kind)), data.draw(KEYS), data.draw(HEADERS)
    assert matches(kind, binding, key, headers) is passes(kind, binding, key, headers)


@given(topologies())
def test_the_model_gives_a_queue_each_message_once(drawn: Drawn) -> None:
    for queue in ("q0", "q1", "q2"):
        expected = drawn.expected(queue)
        assert len(set(expected)) == len(expected)
