"""The names of taskq's headers, and what every copy of a message leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from taskq.errors import UndecodableMessage
from taskq.tasks.options import RESERVED_PREFIX, HeaderValue

Headers = Mapping[str, object]
"""Headers as they arrive: text, numbers and bools of ours; foreign programs may send any AMQP value."""

WIRE_VERSION: Final = 1
LARGEST_HEADERS: Final = 16_384  # bytes, all headers together
SIZE_OF_OURS: Final = 1024  # bytes; those of a new job, without the caller's own, are fewer
LARGEST_SENT: Final = 14_336  # bytes, of a new job: the rest is for what retries and a dead letter add

VERSION: Final = "taskq-version"
ATTEMPT: Final = "taskq-attempt"
EXECUTION: Final = "taskq-execution"
QUEUE: Final = "taskq-queue"
ENQUEUED_AT: Final = "taskq-enqueued-at"
DEADLINE: Final = "taskq-deadline"
ETA: Final = "taskq-eta"
ERROR: Final = "taskq-error"
JOB_ID: Final = "taskq-job-id"
EXCHANGE: Final = "taskq-exchange"
KEY: Final = "taskq-key"
TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

DEAD_REASON: Final = "taskq-dead-reason"
DEAD_AT: Final = "taskq-dead-at"
ERROR_TYPE: Final = "taskq-error-type"
ERROR_MESSAGE: Final = "taskq-error-message"
ERROR_TRACEBACK: Final = "taskq-error-traceback"

_LARGEST_NUMBER: Final = 2**62  # AMQP has 64 bits; who adds to it stays within them
_LAST_MILLISECOND: Final = 253_402_300_799_999  # of the year 9999
_CUT: Final = "\n…\n"
_SHORTEST_CUT: Final = 16  # bytes; with less there is no room for two ends and the mark

_BROKERS_OWN: Final = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
_SENDERS_OWN: Final = frozenset({"CC", "BCC"})
_OUR_NUMBERS: Final = frozenset({VERSION, ATTEMPT, EXECUTION, ENQUEUED_AT, DEADLINE, ETA})
_OUR_TEXTS: Final = frozenset({QUEUE, ERROR, JOB_ID, EXCHANGE, KEY})
_LONGEST_TEXT: Final = 400  # characters of one of ours


def for_copy(headers: Headers) -> dict[str, object]:
    """Return the headers that a copy of a message may carry.

    Left out: what the broker adds by itself (a copy with ``x-death`` is dropped as a cycle by RabbitMQ up to
    3.13) and what asked for further copies. Where a foreign program has sent more than :data:`LARGEST_HEADERS`, all of
    its own: they have to fit into one frame of AMQP, with what is added.
    """
    kept = _passed_on(headers)
    return kept if size_of(kept) <= LARGEST_HEADERS else ours(kept)


def ours(headers: Headers) -> dict[str, object]:
    """Return the headers of ours that go with a job, and are of the kind and size that we give them."""
    return {
        k: v
        for k, v in headers.items()
        if (k in _OUR_NUMBERS and isinstance(v, int))
        or (k in _OUR_TEXTS and isinstance(v, str) and len(v) <= _LONGEST_TEXT)
    }


def users(headers: Headers) -> dict[str, HeaderValue]:
    """Return the headers that the caller set by hand."""
    return {
        k: v
        for k, v in _passed_on(headers).items()
        if not k.startswith(RESERVED_PREFIX) and k not in (TRACEPARENT, TRACESTATE) and isinstance(v, HeaderValue)
    }


def whole_number(headers: Headers, name: str, default: int, *, least: int = 0) -> int:
    """Return an integer header. Raises :class:`UndecodableMessage` when it is something else or too small."""
    value = headers.get(name, default)
    if type(value) is int and least <= value <= _LARGEST_NUMBER:  # nearly always
        return value
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _LARGEST_NUMBER:
        raise UndecodableMessage(f"header {name} is {_shown(value)}, not a whole number of at least {least}")
    return value


def instant(headers: Headers, name: str) -> float | None:
    """Return a header that holds milliseconds since the epoch, as seconds, or ``None`` without it.

    Raises :class:`UndecodableMessage` for what no ``datetime`` can hold.
    """
    if name not in headers:
        return None
    millis = whole_number(headers, name, 0)
    if millis > _LAST_MILLISECOND:
        raise UndecodableMessage(f"header {name} is {_shown(millis)}, after the year 9999")
    return millis / 1000


def text(headers: Headers, name: str) -> str | None:
    """Return a text header, or ``None`` where it is missing or something else."""
    value = headers.get(name)
    return value if isinstance(value, str) else None


def cut(value: str, largest: int) -> str:
    """Return ``value`` in at most ``largest`` bytes of UTF-8, with a mark where its middle was left out."""
    encoded = value.encode(errors="replace")
    if len(encoded) <= largest:
        return encoded.decode()
    if largest < _SHORTEST_CUT:
        return encoded[:largest].decode(errors="ignore")
    head = largest // 3
    tail = largest - head - len(_CUT.encode())
    return encoded[:head].decode(errors="ignore") + _CUT + encoded[-tail:].decode(errors="ignore")


def size_of(headers: Headers) -> int:
    """Return about how many bytes the headers take on the wire."""
    total = 0
    for name, value in headers.items():
        # nearly all are plain text and numbers, and every job is measured
        size = len(value) + 1 if isinstance(value, str) and value.isascii() else _size(value)
        total += (len(name) + 1 if name.isascii() else _size(name)) + 5 + size
    return total


def _passed_on(headers: Headers) -> dict[str, object]:
    return {k: v for k, v in headers.items() if k not in _SENDERS_OWN and not k.startswith(_BROKERS_OWN)}


def _size(value: object) -> int:
    """Return the size of a name or a value; only foreign programs send more than text, numbers and bools."""
    if isinstance(value, int):
        return 9
    match value:
        case str():
            return len(value.encode(errors="replace")) + 1
        case bytes() | bytearray():
            return len(value) + 1
        case Mapping():
            return sum(_size(name) + _size(part) for name, part in cast("Headers", value).items()) + 5
        case list() | tuple():
            return sum(_size(part) for part in cast("list[object]", value)) + 5
        case _:
            return 9


def _shown(value: object) -> str:
    try:
        return cut(repr(value), 40)
    except ValueError:  # Python does not print integers of more than 4300 digits
        return "a very large number"
