"""The operations of a consumer: claim, settle, hand back.

A settle and the claim that fills its slot travel in one batch. The claim stands behind all settles of its turn, and
takes only as many as were really settled, so that a settle that fails leaves no consumer with more than its prefetch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from taskq.broker.protocol import Outgoing, Settlement
from taskq.broker.sqlite import claiming
from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.operation import Operation
from taskq.broker.sqlite.packing import PackedMessage
from taskq.broker.sqlite.subscription import Subscription
from taskq.clock import Clock


@dataclass(slots=True)
class Claimed:
    """What a claim found. ``exhausted``: it got less than it asked for; ``next_due`` is when to look again then."""

    claim: int
    rows: list[claiming.Row]
    exhausted: bool
    next_due: float | None


class Settle(Operation[Settlement]):
    """Replace ``message``, which ``claim`` has.

    ``failed`` is called when it fails, and ``dropped`` with the replies whose queue is gone; both on the loop.
    """

    __slots__ = ("_claim", "_dropped", "_failed", "_lost_replies", "_packed_messages", "frees", "message")

    patient = True

    def __init__(
        self,
        message: int,
        claim: int,
        packed_messages: tuple[PackedMessage, ...],
        failed: Callable[[], None],
        dropped: Callable[[Iterable[Outgoing]], None],
    ) -> None:
        self.message = message
        self.frees = False
        self._claim = claim
        self._packed_messages = packed_messages
        self._failed = failed
        self._dropped = dropped
        self._lost_replies: Sequence[Outgoing] = ()

    def run(self, batch: Batch) -> Settlement:
        self.frees = False
        packed_messages = self._packed_messages
        held = batch.held
        if packed_messages and held.has(self.message, self._claim):
            batch.check(packed_messages)
        done = held.settle(self.message, self._claim)
        self.frees = True
        if not done:
            return Settlement.LOST
        if packed_messages:
            self._lost_replies = [packed.outgoing for packed in packed_messages if not batch.put(packed)]
        return Settlement.DONE

    def resolve(self, result: Settlement) -> None:
        if self._lost_replies:
            self._dropped(self._lost_replies)
        super().resolve(result)

    def fail(self, error: Exception) -> None:
        self._failed()
        super().fail(error)

    def abandon(self) -> None:
        if not self.future.done():
            self.future.set_result(Settlement.LOST)
        super().abandon()


class Claim(Operation[Claimed]):
    """Take messages for a subscription: ``free``, and one for each of ``settles`` that freed its slot.

    ``left`` is called on the loop when it is handed over, ``resolved`` when it is over.
    """

    __slots__ = ("_clock", "_left", "_resolved", "_subscription", "free", "settles")

    patient = True

    def __init__(
        self,
        subscription: Subscription,
        clock: Clock,
        left: Callable[[], None],
        resolved: Callable[[Claim, Claimed | None], None],
    ) -> None:
        self.free = 0
        self.settles: list[Settle] = []
        self._subscription = subscription
        self._clock = clock
        self._left = left
        self._resolved = resolved

    @property
    def asked(self) -> int:
        """The largest number of messages that it may take."""
        return self.free + len(self.settles)

    @property
    def behind(self) -> Sequence[Operation[Any]]:
        return self.settles

    def run(self, batch: Batch) -> Claimed:
        limit = self.free + sum(settle.frees for settle in self.settles)
        claim = self._subscription.next_claim()
        rows = claiming.take(batch, self._subscription.queue, claim, limit, self._clock.now()) if limit > 0 else []
        exhausted = len(rows) < limit
        due = claiming.next_due(batch, self._subscription.queue) if exhausted else None
        return Claimed(claim, rows, exhausted, due)

    def leaving(self) -> None:
        self._left()

    def resolve(self, result: Claimed) -> None:
        super().resolve(result)
        self._resolved(self, result)

    def fail(self, error: Exception) -> None:
        self.abandon()

    def abandon(self) -> None:
        super().abandon()
        self._resolved(self, None)


class HandBack(Operation[int]):
    """Give back messages as if they had not been claimed, and return how many of them still were."""

    patient = True

    def __init__(self, subscription: Subscription, claim: int, messages: list[int]) -> None:
        self._subscription = subscription
        self._claim = claim
        self._messages = messages

    def run(self, batch: Batch) -> int:
        queue, claim = self._subscription.queue, self._claim
        return sum(claiming.hand_back(batch, queue, message, claim) for message in self._messages)

    def abandon(self) -> None:
        if not self.future.done():
            self.future.set_result(0)
        super().abandon()


class IsHeld(Operation[bool]):
    """Say whether ``claim`` still has ``message``."""

    patient = True
    looks = True

    def __init__(self, message: int, claim: int) -> None:
        self._message = message
        self._claim = claim

    def run(self, batch: Batch) -> bool:
        return claiming.has(batch.db, self._message, self._claim)

    def abandon(self) -> None:
        if not self.future.done():
            self.future.set_result(False)
        super().abandon()
