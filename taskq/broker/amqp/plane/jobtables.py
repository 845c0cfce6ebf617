"""The header tables of jobs, written by what is remembered of the jobs before.

The headers of a job are the same in job after job, but for the instants that they end with: when it was enqueued, until
when it may start. So what stands before these is remembered. Any other table is
:mod:`~taskq.broker.amqp.plane.tables`'s, and the bytes are the same whichever way they are made. The way back is in
:mod:`~taskq.broker.amqp.plane.properties`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from struct import error as StructError

from taskq.broker.amqp.plane.tables import encode_table, encode_value, short_string
from taskq.wire import headers

_MOST_REMEMBERED = 1024  # tables
_UINT = Struct(">I")
_LONG = Struct(">q")
_TOLD_APART = frozenset({str, int, bool, bytes, type(None)})  # equal ones of a type are the same bytes


def _marker(name: str) -> bytes:
    """Return the bytes that stand before the value of an instant."""
    return b"%c%bl" % (len(name), name.encode())


_DEADLINE, ENQUEUED_AT_MARKER = map(_marker, (headers.DEADLINE, headers.ENQUEUED_AT))
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
