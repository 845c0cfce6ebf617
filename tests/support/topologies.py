"""Exchanges, bindings and messages drawn by hypothesis, and a model of AMQP's rules that shares nothing with ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from hypothesis import strategies as st

from taskq.tasks.exchanges import Binding, ExchangeKind

WORDS = st.sampled_from(["a", "b", ""])
PATTERN_WORDS = st.sampled_from(["a", "b", "", "*", "*", "#", "#"])
NAMES = st.sampled_from(["a", "b", "x-c"])
# 1 and 1.0 are the same to RabbitMQ 3.10, and not to 4.0: a model of both has one of them.
VALUES = st.sampled_from([1, True, "1", 0, False, "", 0.5])
HEADERS = st.dictionaries(NAMES, VALUES, max_size=3)
KEYS = st.lists(WORDS, max_size=5).map(".".join)
PATTERNS = st.lists(PATTERN_WORDS, max_size=5).map(".".join)
EXCHANGE_KINDS = st.sampled_from(get_args(ExchangeKind))


@dataclass(frozen=True)
class Drawn:
    """An exchange ``exchange`` with bindings to queues ``q0``, ``q1``, …, and what is published to it."""

    kind: ExchangeKind
    bindings: tuple[Binding, ...]
    messages: tuple[tuple[str, Mapping[str, object]], ...]

    def expected(self, queue: str) -> list[int]:
        """The numbers of the messages that a queue gets."""
        bound = [binding for binding in self.bindings if binding.queue == queue]
        return [
            number
            for number, (key, headers) in enumerate(self.messages)
            if any(passes(self.kind, binding, key, headers) for binding in bound)
        ]


@st.composite
def topologies(draw: st.DrawFn, *, queues: int = 3) -> Drawn:
    """Draw an exchange of any kind."""
    kind = draw(EXCHANGE_KINDS)
    bindings = draw(st.lists(bindings_of(kind, queues), min_size=1, max_size=6))
    messages = draw(st.lists(st.tuples(KEYS, HEADERS), min_size=1, max_size=8))
    return Drawn(kind, tuple(bindings), tuple(messages))


def bindings_of(kind: ExchangeKind, queues: int = 3) -> st.SearchStrategy[Binding]:
    """Draw bindings as the kind knows them."""
    return st.builds(
        Binding,
        exchange=st.just("exchange"),
        queue=st.sampled_from([f"q{number}" for number in range(queues)]),
        key={"topic": PATTERNS, "direct": KEYS}.get(kind, st.just("")),
        headers=st.dictionaries(NAMES, VALUES, min_size=1, max_size=3) if kind == "headers" else st.just({}),
        match=st.sampled_from(["all", "any"]) if kind == "headers" else st.just("all"),
    )


def passes(kind: ExchangeKind, binding: Binding, key: str, headers: Mapping[str, object]) -> bool:
    """The model: the rules as they are written, without a thought for speed."""
    if kind == "fanout":
        return True
    if kind == "direct":
        return key == binding.key
    if kind == "topic":
        return _topic(_split(binding.key), _split(key))
    hits = [
        name in headers and _class(headers[name]) is _class(value) and headers[name] == value
        for name, value in binding.headers.items()
        if name[:2] != "x-"
    ]
    return False not in hits if binding.match == "all" else True in hits


def _split(text: str) -> list[str]:
    return [] if text == "" else text.split(".")


def _topic(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_topic(pattern[1:], words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _topic(pattern[1:], words[1:])


def _class(value: object) -> type:
    return float if type(value) is int else type(value)
