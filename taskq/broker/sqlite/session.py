"""What the parts of one open broker share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from taskq.broker.protocol import Outgoing
from taskq.broker.sqlite.membership import Membership
from taskq.broker.sqlite.submitter import Submitter
from taskq.broker.sqlite.subscription import Subscription
from taskq.clock import Clock
from taskq.errors import BrokerError
from taskq.lifecycle import BrokerGone, ConsumerInterrupted, ConsumerResumed, Event, ReplyDropped


class Closable(Protocol):
    """A consumer or an inbox."""

    async def close(self) -> None: ...


class Consuming(Closable, Protocol):
    """A consumer."""

    @property
    def subscription(self) -> Subscription: ...

    @property
    def stopped(self) -> bool: ...


@dataclass(slots=True, kw_only=True)
class Session:
    """Of one broker, between entering and leaving it. It is a :class:`~taskq.broker.sqlite.trouble.Watcher`."""

    label: str
    membership: Membership
    submitter: Submitter
    clock: Clock
    emit: Callable[[Event], None] | None
    consumers: set[Consuming] = field(default_factory=set[Consuming])
    inboxes: set[Closable] = field(default_factory=set[Closable])
    dropped_replies: int = 0
    _interrupted: set[str] = field(default_factory=set[str])

    def count_dropped(self, dropped: Iterable[Outgoing]) -> None:
        """Take note of replies that no queue took. What an exchange passes to nobody is none."""
        for outgoing in dropped:
            if outgoing.exchange:
                continue
            self.dropped_replies += 1
            correlation_id = outgoing.message.correlation_id
            self._tell(ReplyDropped(correlation_id=correlation_id, reason="its queue is gone"))

    def interrupted(self, reason: str) -> None:
        """Tell that nothing can be taken from the queues that are consumed."""
        consumed = {each.subscription.name for each in self.consumers if not each.stopped}
        for queue in sorted(consumed):
            self._tell(ConsumerInterrupted(queue=queue, reason=reason))
        self._interrupted |= consumed

    def resumed(self) -> None:
        """Tell that it can be taken again."""
        for queue in sorted(self._interrupted):
            self._tell(ConsumerResumed(queue=queue))
        self._interrupted.clear()

    def ended(self, error: BrokerError) -> None:
        """Tell that the file is gone."""
        self._tell(BrokerGone(label=self.label, reason=str(error)))

    def _tell(self, event: Event) -> None:
        if self.emit is not None:
            self.emit(event)
