"""One publish on its way, and what becomes of it. The publisher moves it; the caller waits for ``confirmed``."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from taskq.broker.amqp.delays import delayed
from taskq.broker.amqp.plane.faults import Unencodable
from taskq.broker.amqp.plane.properties import encode_content
from taskq.broker.protocol import Outgoing
from taskq.errors import UsageError
from taskq.wire.ids import new_message_id
from taskq.wire.message import Message


class Publish:
    """A message with its route and deadline (the loop's time; infinite without one).

    ``sent``: some copy of it went out. ``returned``: the broker sent it back.
    """

    __slots__ = (
        "confirmed",
        "content",
        "deadline",
        "mandatory",
        "message",
        "not_before",
        "queue",
        "returned",
        "sent",
        "timeout_s",
    )

    def __init__(
        self, outgoing: Outgoing, confirmed: asyncio.Future[None], deadline: float, timeout_s: float, now: float
    ) -> None:
        self.queue = outgoing.queue
        self.mandatory = outgoing.mandatory
        self.not_before = outgoing.not_before
        self.message = outgoing.message
        if self.not_before is not None:
            self.message = delayed(self.message, self.not_before, now)
        self.content = _encoded(self.message)
        self.confirmed = confirmed
        self.deadline = deadline
        self.timeout_s = timeout_s
        self.sent = False
        self.returned = False

    @property
    def size(self) -> int:
        """Bytes that it has in memory and on the wire, about."""
        return len(self.message.body) + len(self.content)

    def renew(self) -> None:
        """Make it another copy, which can be told from the one that was sent before."""
        self.message = replace(self.message, message_id=new_message_id())
        self.content = _encoded(self.message)
        self.returned = False


def _encoded(message: Message) -> bytes:
    try:
        return encode_content(message)
    except Unencodable as error:
        raise UsageError(f"AMQP cannot carry this message: {error}") from None
