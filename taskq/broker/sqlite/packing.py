"""A message as a row, and back. Made and read on the event loop, so that the database's thread handles no JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from taskq.broker.protocol import Outgoing
from taskq.errors import UsageError
from taskq.wire.headers import EXCHANGE, KEY
from taskq.wire.message import PROPERTIES, Message

_write = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_read = json.JSONDecoder().raw_decode  # what we wrote has no space around it


@dataclass(slots=True, eq=False)
class PackedMessage:
    """An outgoing message, ready to be written. ``ready_at`` is ``None`` for at once.

    ``outgoing`` has the headers that it is written with.
    """

    queue: str
    mandatory: bool
    priority: int
    ready_at: float | None
    properties: str
    body: bytes
    outgoing: Outgoing


def pack(outgoing: Outgoing, now: float) -> PackedMessage:
    """Return the row of a message. Raises :class:`UsageError` for headers that are no JSON."""
    if outgoing.exchange:
        outgoing = _stamped(outgoing)
    message = outgoing.message
    not_before = outgoing.not_before
    return PackedMessage(
        outgoing.queue,
        outgoing.mandatory,
        message.priority or 0,
        None if not_before is None or not_before <= now else not_before,
        _properties(message),
        message.body,
        outgoing,
    )


def unpack(properties: str, body: bytes) -> Message:
    """Return the message of a row."""
    fields: dict[str, Any] = _read(properties)[0]
    fields.setdefault("content_type", None)
    return Message(body=body, **fields)


def _stamped(outgoing: Outgoing) -> Outgoing:
    """Return it with where it is published in the headers; one that says where it came from goes on saying it."""
    if outgoing.not_before is not None:
        raise UsageError(f"exchange {outgoing.exchange!r}: a message for an exchange cannot be delayed")
    headers = {EXCHANGE: outgoing.exchange, KEY: outgoing.queue, **outgoing.message.headers}
    return outgoing._replace(message=outgoing.message._replace(headers=headers))


def _properties(message: Message) -> str:
    fields: dict[str, object] = {}
    for name in PROPERTIES:
        value = getattr(message, name)
        if value is not None:
            fields[name] = value
    if message.headers:
        fields["headers"] = dict(message.headers)
    try:
        return _write(fields)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"headers of a message for {message.type or 'a queue'}: {error}") from None
