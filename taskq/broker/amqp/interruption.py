"""What keeps a consumer from its queue: each reason is told once, however often it is met."""

from __future__ import annotations

import asyncio

from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.refusals import refused_channel
from taskq.broker.amqp.surroundings import Surroundings
from taskq.errors import AccessRefused, BrokerError, Unroutable
from taskq.lifecycle import ConsumerInterrupted, ConsumerResumed


class Interruption:
    """The interruptions of one consumer, one after the other."""

    def __init__(self, broker: Surroundings, queue: str) -> None:
        self._broker = broker
        self._queue = queue
        self._since: float | None = None
        self._told: set[str] = set()

    def begin(self) -> None:
        """Begin, where nobody has told a reason; while an interruption goes on, it does nothing."""
        if self._since is None:
            self._since = asyncio.get_running_loop().time()

    def tell(self, why: ChannelGone | BrokerError | str) -> None:
        """Tell a reason, unless it was told before in this interruption."""
        self.begin()
        reason = self._words(why)
        if reason not in self._told:
            self._told.add(reason)
            self._broker.emit(ConsumerInterrupted(queue=self._queue, reason=reason))

    def end(self) -> float:
        """Tell that it is over, and return how many seconds it took."""
        began = self._since
        assert began is not None
        self._since = None
        self._told.clear()
        self._broker.emit(ConsumerResumed(queue=self._queue))
        return asyncio.get_running_loop().time() - began

    def _words(self, why: ChannelGone | BrokerError | str) -> str:
        if isinstance(why, ChannelGone):
            refused = refused_channel(why.text, self._broker.label, "read")
            return str(refused if isinstance(refused, AccessRefused) else why)
        if isinstance(why, Unroutable):  # its own text is for who publishes
            return f"queue {why.queue!r} does not exist; it is consumed as soon as somebody declares it"
        return str(why)
