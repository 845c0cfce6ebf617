"""The operations of a consumer: claim, settle, hand back; and of an inbox: read.

A settle and the claim that fills its slot travel in one batch. The claim stands behind all settles of its turn, and
takes only as many as were really settled, so that a settle that fails leaves no consumer with more than its prefetch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskq.broker.protocol import Outgoing, Settlement
from taskq.broker.sqlite import claiming
from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.operation import Operation
from taskq.broker.sqlite.packing import PackedMessage
from taskq.broker.sqlite.subscription import Subscription
from taskq.clock import Clock


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settle led to; ``dropped`` are replies whose queue is gone."""

    settlement: Settlement
    dropped: tuple[Outgoing, ...] = ()


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim found. ``exhausted``: it got less than it asked for; ``next_due`` is when to look again then."""

    claim: int
    rows: list[claiming.Row]
    exhausted: bool
    next_due: float | None


class Settle(Operation[Settled]):
    """Replace a message that is claimed."""

    patient = True

    def __init__(
        self, message: int, claim: int, packed_messages: tuple[PackedMessage, ...], failed: Callable[[], None]
    ) -> None:
        self.frees = False
        self._message = message
        self._claim = claim
        self._packed_messages = packed_messages
        self._failed = failed

    def run(self, batch: Batch) -> Settled:
        self.frees = False
        if self._packed_messages:
            if not claiming.holds(batch, self._message, self._claim):
                self.frees = True
                return Settled(Settlement.LOST)
            batch.check(self._packed_messages)
        done = claiming.remove(batch, self._message, self._claim)
        self.frees = True
        if not done:
            return Settled(Settlement.LOST)
        dropped = tuple(packed.outgoing for packed in self._packed_messages if not batch.put(packed))
        return Settled(Settlement.DONE, dropped)

    def fail(self, error: Exception) -> None:
        self._failed()
        super().fail(error)

    def abandon(self) -> None:
        if not self.future.done():
            self.future.set_result(Settled(Settlement.LOST))
        super().abandon()


@dataclass(eq=False)
class Claim(Operation[Claimed]):
    """Take messages for a subscription: ``free``, and one for each of ``settles`` that freed its slot."""

    subscription: Subscription
    clock: Clock
    left: Callable[[], None]
    resolved: Callable[[Claim, Claimed | None], None]
    free: int = 0
    settles: list[Settle] = field(default_factory=list[Settle])

    patient = True

    @property
    def asked(self) -> int:
        """The largest number of messages that it may take."""
        return self.free + len(self.settles)

    @property
    def behind(self) -> Sequence[Operation[Any]]:
        return self.settles

    def run(self, batch: Batch) -> Claimed:
        limit = self.free + sum(settle.frees for settle in self.settles)
        claim = self.subscription.next_claim()
        rows = claiming.take(batch, self.subscription.queue, claim, limit, self.clock.now()) if limit > 0 else []
        exhausted = len(rows) < limit
        due = claiming.next_due(batch, self.subscription.queue) if exhausted else None
        return Claimed(claim, rows, exhausted, due)

    def leaving(self) -> None:
        self.left()

    def resolve(self, result: Claimed) -> None:
        super().resolve(result)
        self.resolved(self, result)

    def fail(self, error: Exception) -> None:
        self.abandon()

    def abandon(self) -> None:
        super().abandon()
        self.resolved(self, None)


class HandBack(Operation[None]):
    """Give back messages that came too late for a consumer that stopped; nobody has seen them."""

    patient = True

    def __init__(self, subscription: Subscription, claim: int, messages: list[int]) -> None:
        self._subscription = subscription
        self._claim = claim
        self._messages = messages

    def run(self, batch: Batch) -> None:
        for message in self._messages:
            claiming.hand_back(batch, self._subscription.queue, message, self._claim)


class Read(Operation[list[claiming.Row]]):
    """Take replies out of an inbox."""

    patient = True

    at_once = 1_000

    def __init__(
        self, subscription: Subscription, clock: Clock, read: Callable[[list[claiming.Row] | None], None]
    ) -> None:
        self._subscription = subscription
        self._clock = clock
        self._read = read

    def run(self, batch: Batch) -> list[claiming.Row]:
        return claiming.take_out(batch, self._subscription.queue, self.at_once, self._clock.now())

    def resolve(self, result: list[claiming.Row]) -> None:
        super().resolve(result)
        self._read(result)

    def fail(self, error: Exception) -> None:
        self.abandon()

    def abandon(self) -> None:
        super().abandon()
        self._read(None)
