"""One publish on its way, and what becomes of it. The publisher moves it; the caller waits for ``confirmed``."""

from __future__ import annotations

import asyncio

from taskq.broker.amqp.delays import delayed
from taskq.broker.amqp.plane.faults import Unencodable
from taskq.broker.amqp.plane.properties import encode_content
from taskq.broker.protocol import Outgoing
from taskq.errors import BrokerError, UsageError
from taskq.wire.ids import new_message_id
from taskq.wire.message import Message


class Publish:
    """A message with its route and deadline (the loop's time; infinite without one).

    ``queue`` is the routing key when there is an ``exchange``. ``size``: its bytes, in memory and on the wire, about.
    ``sent``: some copy of it went out. ``copied``: more than one may have. ``returned``: the broker sent it back.

    Making one raises :class:`UsageError` for a message that AMQP cannot carry.
    """

    __slots__ = (
        "confirmed",
        "content",
        "copied",
        "deadline",
        "due",
        "exchange",
        "mandatory",
        "message",
        "not_before",
        "queue",
        "returned",
        "sent",
        "size",
        "timeout_s",
        "unsure",
    )
    due: float  # by the loop's clock; of what has a delay alone

    def __init__(
        self, outgoing: Outgoing, confirmed: asyncio.Future[None], deadline: float, timeout_s: float, now: float
    ) -> None:
        self.exchange = outgoing.exchange
        self.queue = outgoing.queue
        self.mandatory = outgoing.mandatory
        self.not_before = outgoing.not_before
        self.message = outgoing.message
        if self.not_before is not None:
            assert not self.exchange, "what goes to an exchange has no delay"
            self.message = delayed(self.message, self.not_before, now)
        self.content = _encoded(self.message)
        self.size = len(self.message.body) + len(self.content)
        self.confirmed = confirmed
        self.deadline = deadline
        self.timeout_s = timeout_s
        self.sent = False
        self.copied = False
        self.unsure = False
        self.returned = False

    @property
    def what(self) -> str:
        """What it is, for people."""
        if self.exchange:
            return f"a message for exchange {self.exchange!r} with the key {self.queue!r}"
        return f"a message for queue {self.queue!r}"

    def renew(self, *, unsure: bool) -> None:
        """Make it another copy, which can be told from the one that was sent before; ``unsure``: that may be stored."""
        self.message = self.message._replace(message_id=new_message_id())
        self.content = _encoded(self.message)
        self.copied = True
        self.unsure = self.unsure or unsure
        self.returned = False

    def fail(self, error: BrokerError | UsageError) -> None:
        """End it with an error, unless it has ended."""
        if not self.confirmed.done():
            failed(self.confirmed, error)


def failed(confirmed: asyncio.Future[None], error: BrokerError | UsageError) -> asyncio.Future[None]:
    """Return ``confirmed``, ended by an error that may be waited for by nobody."""
    confirmed.set_exception(error)
    confirmed.exception()
    return confirmed


def _encoded(message: Message) -> bytes:
    try:
        return encode_content(message)
    except Unencodable as error:
        raise UsageError(f"AMQP cannot carry this message: {error}") from None
    except Exception as error:  # a name that is no text, a table within itself: the sender's error, and nobody else's
        raise UsageError(f"AMQP cannot carry this message: {error!r}") from error
