"""What the parts of one open broker share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from taskq.broker.protocol import Outgoing
from taskq.broker.sqlite.membership import Membership
from taskq.broker.sqlite.submitter import Submitter
from taskq.clock import Clock
from taskq.lifecycle import Event, ReplyDropped


class Closable(Protocol):
    """A consumer or an inbox."""

    async def close(self) -> None: ...


@dataclass(slots=True, kw_only=True)
class Session:
    """Of one broker, between entering and leaving it."""

    membership: Membership
    submitter: Submitter
    clock: Clock
    emit: Callable[[Event], None] | None
    consumers: set[Closable] = field(default_factory=set[Closable])
    inboxes: set[Closable] = field(default_factory=set[Closable])
    dropped_replies: int = 0

    def count_dropped(self, dropped: Iterable[Outgoing]) -> None:
        """Take note of replies that no queue took. What an exchange passes to nobody is none."""
        for outgoing in dropped:
            if outgoing.exchange:
                continue
            self.dropped_replies += 1
            if self.emit is not None:
                correlation_id = outgoing.message.correlation_id
                self.emit(ReplyDropped(correlation_id=correlation_id, reason="its queue is gone"))
