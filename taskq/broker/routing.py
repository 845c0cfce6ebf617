"""Which bindings a message matches: AMQP 0-9-1's rules for the four kinds of exchanges. Pure.

On RabbitMQ the broker does this itself; the embedded broker does it here, and the tests compare the two.

Theory of operation. A topic pattern and a key are words divided by dots; the empty text has no word at all. Words are
compared from the left; ``#`` first takes none, and each time that a later word does not fit, the last ``#`` takes one
more. An earlier ``#`` never has to take more than it did, since what it would gain the last one can take. So the work
is at most the product of both lengths, however many ``#`` there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import assert_never

from taskq.tasks.exchanges import Binding, ExchangeKind

_ONE, _ANY = "*", "#"
_IGNORED = "x-"
_REMEMBERED = 4096  # patterns and keys


def matches(kind: ExchangeKind, binding: Binding, key: str, headers: Mapping[str, object]) -> bool:
    """Say whether an exchange of ``kind`` passes a message with this routing key and these headers on.

    AMQP 0-9-1, section 3.1.3; RabbitMQ's own rules where that is silent.
    """
    match kind:
        case "fanout":
            return True
        case "direct":
            return binding.key == key
        case "topic":
            return binding.key == _ANY or _fits(_words(binding.key), _words(key))
        case "headers":
            wanted = [
                name in headers and _same(value, headers[name])
                for name, value in binding.headers.items()
                if not name.startswith(_IGNORED)
            ]
            return any(wanted) if binding.match == "any" else all(wanted)
        case _:
            assert_never(kind)


@lru_cache(_REMEMBERED)
def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(".")) if text else ()


def _fits(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    at = position = 0
    last, taken = -1, 0  # where the last '#' stands, and up to where its words go
    while position < len(words):
        if at < len(pattern) and pattern[at] == _ANY:
            last, taken = at, position
            at += 1
        elif at < len(pattern) and pattern[at] in (_ONE, words[position]):
            at += 1
            position += 1
        elif last >= 0:
            taken += 1
            at, position = last + 1, taken
        else:
            return False
    return all(word == _ANY for word in pattern[at:])


def _same(wanted: object, value: object) -> bool:
    """Compare as RabbitMQ does: numbers by value, whatever their types; neither a bool nor a text is a number."""
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    return wanted == value
