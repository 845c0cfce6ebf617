"""A message as every AMQP client knows it: body, properties and headers. Both brokers carry just this."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from taskq.errors import MessageTooLarge
from taskq.wire.headers import LARGEST_SENT, size_of

JSON = "application/json"
_NO_HEADERS: Final[Mapping[str, object]] = MappingProxyType({})


class Message(NamedTuple):
    """One published copy. Every message is persistent; ``message_id`` is its own and no other copy's.

    ``timestamp`` is in whole seconds since the epoch, as AMQP has it. Property names are AMQP's. Fields are given by
    name, but where a message is made for every job: there their order costs half as much. Another copy is made with
    ``_replace``.
    """

    body: bytes
    message_id: str
    type: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    content_type: str | None = JSON
    content_encoding: str | None = None
    timestamp: int | None = None
    app_id: str | None = None
    priority: int | None = None
    headers: Mapping[str, object] = _NO_HEADERS

    @property
    def size(self) -> int:
        """The size of body and headers, in bytes; properties are small and not counted."""
        return len(self.body) + size_of(self.headers)


PROPERTIES = tuple(name for name in Message._fields if name not in ("body", "headers"))
"""The names of a message's properties."""


def check_size(message: Message, largest: int, what: str) -> None:
    """Raise :class:`MessageTooLarge` for a new job above ``largest`` bytes, or whose headers exceed their own limit."""
    headers = size_of(message.headers)
    if headers > LARGEST_SENT:
        raise MessageTooLarge(f"the header table of {what}", headers, LARGEST_SENT, fixed=True)
    if len(message.body) + headers > largest:
        raise MessageTooLarge(what, len(message.body) + headers, largest)
