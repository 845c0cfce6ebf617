"""The header tables of messages, written and read by what is remembered of the messages before.

The headers of a job are the same in job after job, but for the instants that they end with: when it was enqueued, until
when it may start. So what stands before these is remembered, in both directions. Any other table is
:mod:`~taskq.broker.amqp.plane.tables`'s, and the bytes are the same whichever way they are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from struct import error as StructError

from taskq.broker.amqp.plane.faults import ProtocolViolation
from taskq.broker.amqp.plane.tables import decode_table, encode_table, encode_value, short_string
from taskq.wire import headers

_MOST_REMEMBERED, _LONGEST_REMEMBERED = 1024, 512  # tables, bytes of one
_UINT = Struct(">I")
_LONG = Struct(">q")
_TOLD_APART = frozenset({str, int, bool, bytes, type(None)})  # equal ones of a type are the same bytes
SCALARS = (str, int, float, bytes, type(None))


def _marker(name: str) -> bytes:
    """Return the bytes that stand before the value of an instant."""
    return b"%c%bl" % (len(name), name.encode())


_ETA, _DEADLINE, ENQUEUED_AT_MARKER = map(_marker, (headers.ETA, headers.DEADLINE, headers.ENQUEUED_AT))
_FROM_THE_END = ((headers.ETA, _ETA), (headers.DEADLINE, _DEADLINE), (headers.ENQUEUED_AT, ENQUEUED_AT_MARKER))
_HEAD = (headers.VERSION, headers.ATTEMPT, headers.EXECUTION, headers.QUEUE)
_JOBS = frozenset(((*_HEAD, headers.ENQUEUED_AT), (*_HEAD, headers.ENQUEUED_AT, headers.DEADLINE)))
"""The names of a job's headers, where it has no others."""


def encode_headers(table: Mapping[str, object]) -> bytes:
    """Return the headers of a message, with their length. Raises :class:`Unencodable`."""
    if tuple(table) in _JOBS:
        encoded = _encode_of_job(table)
        if encoded is not None:
            return encoded
    return encode_table(table)


def decode_headers(data: bytes, start: int) -> tuple[dict[str, object], int]:
    """Return the headers that begin at ``start``, and where they end. Raises :class:`ProtocolViolation`."""
    end: int = start + 4 + _UINT.unpack_from(data, start)[0] if len(data) - start >= _UINT.size else len(data) + 1
    if end <= len(data):
        head_end, instants = _instants(data, start + 4, end)
        if instants:
            head = _remembered(data[start + 4 : head_end])
            if head is not None:
                return head | instants, end
    return decode_table(data, start)


def _encode_of_job(table: Mapping[str, object]) -> bytes | None:
    """Return the headers of a job; ``None`` where their values are not of the usual kinds."""
    version, attempt, execution, queue, enqueued_at, *deadline = table.values()
    if type(enqueued_at) is not int:
        return None
    try:
        if not deadline:
            return _until_instants(version, attempt, execution, queue, 8) + _LONG.pack(enqueued_at)
        if type(deadline[0]) is not int:
            return None
        instants = b"%b%b%b" % (_LONG.pack(enqueued_at), _DEADLINE, _LONG.pack(deadline[0]))
        return _until_instants(version, attempt, execution, queue, len(instants)) + instants
    except (TypeError, StructError, UnicodeEncodeError):
        return None


@lru_cache(maxsize=_MOST_REMEMBERED, typed=True)
def _until_instants(version: object, attempt: object, execution: object, queue: object, left: int) -> bytes:
    """Return what stands before the first instant of a table that ends ``left`` bytes behind it, and its length."""
    values = (version, attempt, execution, queue)
    if not _TOLD_APART.issuperset(map(type, values)):
        raise TypeError("0.0 and -0.0 are equal, and not the same bytes")  # which is not remembered
    head = b"".join(short_string(name) + encode_value(value) for name, value in zip(_HEAD, values, strict=True))
    return _UINT.pack(len(head) + len(ENQUEUED_AT_MARKER) + left) + head + ENQUEUED_AT_MARKER


def _instants(data: bytes, start: int, end: int) -> tuple[int, dict[str, object]]:
    """Return the instants with which a table ends, and where they begin."""
    at = end - 8 - len(ENQUEUED_AT_MARKER)
    if at >= start and data.startswith(ENQUEUED_AT_MARKER, at):  # of most jobs, the only one
        return at, {headers.ENQUEUED_AT: _LONG.unpack_from(data, end - 8)[0]}
    found: dict[str, object] = {}
    for name, marker in _FROM_THE_END:
        at = end - 8 - len(marker)
        if at >= start and data.startswith(marker, at):
            found = {name: _LONG.unpack_from(data, end - 8)[0], **found}
            end = at
    return end, found


_HEADS: dict[bytes, dict[str, object]] = {}


def _remembered(head: bytes) -> dict[str, object] | None:
    """Return the entries of a table's beginning, ``None`` when it is none (its last value is longer, say)."""
    table = _HEADS.get(head)
    if table is None:
        try:
            table, _ = decode_table(_UINT.pack(len(head)) + head)
        except ProtocolViolation:
            return None
        if len(head) <= _LONGEST_REMEMBERED and all(isinstance(value, SCALARS) for value in table.values()):
            if len(_HEADS) >= _MOST_REMEMBERED:
                _HEADS.clear()
            _HEADS[head] = table
    return table
