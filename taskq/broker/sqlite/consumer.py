"""A subscription to one queue, on the loop: it counts its slots, claims what fills them, and hands it over.

Theory of operation. ``held`` slots have a delivery, ``asked`` ones have a claim on its way; the others are free. A
settle frees its slot at once and lets the claim of this turn of the loop fill it, so that both share one commit. A
claim that got less than it asked for has emptied the queue; from then on the consumer waits to be poked (something was
published), or for the timer of the next delayed message. Several claims may be on their way, and each knows only the
slots that were free when it left. So a poke meanwhile is kept until all of them are back, and one that got all that it
asked for counts as a poke.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from taskq.broker.protocol import Delivery, Outgoing, Settlement
from taskq.broker.sqlite.delivery import SqliteDelivery
from taskq.broker.sqlite.due import DueTimer
from taskq.broker.sqlite.packing import PackedMessage, pack, unpack
from taskq.broker.sqlite.session import Session
from taskq.broker.sqlite.settling import Claim, Claimed, HandBack, IsHeld, Settle
from taskq.broker.sqlite.subscribing import Unsubscribe
from taskq.broker.sqlite.subscription import Subscription
from taskq.errors import BrokerError
from taskq.lifecycle import SubscriptionGap
from taskq.tasks.exchanges import TemporaryQueue

_CLOSE_S = 2.0  # how long closing waits for a database that others have locked


class SqliteConsumer:
    """Implements :class:`taskq.broker.protocol.Consumer`. A temporary queue comes and goes with it."""

    def __init__(
        self, session: Session, queue: str | TemporaryQueue, prefetch: int, deliver: Callable[[Delivery], None]
    ) -> None:
        self._session = session
        self._deliver = deliver
        self._prefetch = prefetch
        self._held = 0
        self._asked = 0
        self._next: Claim | None = None
        self._under_way: set[Claim] = set()
        self._returning: set[asyncio.Future[int]] = set()
        self._poked = False
        self._stopped = False
        self._closing: asyncio.Task[None] | None = None
        self._close_until = 0.0
        self._timer = DueTimer(session.clock, self.poke)
        temporary = queue if isinstance(queue, TemporaryQueue) else None
        name = queue if isinstance(queue, str) else queue.name
        loop = asyncio.get_running_loop()
        self.subscription = Subscription(name, prefetch, loop, self.poke, temporary, self._missed)

    def poke(self) -> None:
        """Look at the queue, if there is a free slot."""
        if self._stopped:
            return
        if self._under_way:
            self._poked = True
        elif self._free():
            self._claim()

    async def set_prefetch(self, prefetch: int) -> None:
        """Hold at most so many deliveries; see the protocol."""
        fewer, self._prefetch = prefetch < self._prefetch, prefetch
        if not fewer:
            self.poke()
        while fewer and (self._under_way or self._returning):
            waiting: list[asyncio.Future[Any]] = [claim.future for claim in self._under_way]
            await asyncio.wait([*waiting, *self._returning])

    async def stop(self) -> None:
        """Take no further delivery; see the protocol."""
        self._stopped = True
        await self._timer.close()

    async def close(self) -> None:
        """Stop, and give back what is not settled. On a file that stays locked, that goes on behind our back."""
        closing = self._begin_to_close()
        try:
            async with asyncio.timeout_at(self._close_until):
                await asyncio.shield(closing)
        except TimeoutError:
            pass

    def abandon(self) -> None:
        """Close it without waiting, since nobody has it. It claims nothing any more, whatever its subscription is."""
        self._stopped = True
        self._begin_to_close().add_done_callback(_forget)

    def _begin_to_close(self) -> asyncio.Task[None]:
        if self._closing is None:
            loop = asyncio.get_running_loop()
            self._closing, self._close_until = loop.create_task(self._close()), loop.time() + _CLOSE_S
        return self._closing

    def _missed(self, missing_s: float) -> None:
        temporary, emit = self.subscription.temporary, self._session.emit
        if temporary is not None and emit is not None:
            emit(SubscriptionGap(subscription=temporary.label, missing_s=missing_s))

    async def _close(self) -> None:
        await self.stop()
        while self._under_way:  # what they bring is handed back before the rest, and counts no redelivery
            await asyncio.wait([claim.future for claim in self._under_way])
        self._session.consumers.discard(self)
        if not self._session.submitter.closed:
            await self._session.submitter.submit(Unsubscribe(self._session.membership, self.subscription))

    # For deliveries.

    def settle(
        self, message: int, claim: int, replacements: Sequence[Outgoing], *, keep_slot: bool
    ) -> Awaitable[Settlement]:
        """Settle a delivery of this consumer. It goes on when the wait for it is cancelled."""
        session = self._session
        submitter = session.submitter
        if submitter.closed:
            return _lost()
        packed_messages: tuple[PackedMessage, ...] = ()
        if replacements:
            now = session.clock.now()
            packed_messages = tuple([pack(outgoing, now) for outgoing in replacements])
        failed = _nothing if keep_slot else self._take_slot
        settle = Settle(message, claim, packed_messages, failed, session.count_dropped)
        lone = self.subscription.prefetch == 1  # then nothing else of ours can come in this turn of the loop
        future = submitter.submit(settle, handed_over=not lone)
        if not keep_slot:
            self._give_slot(settle)
        if lone:
            submitter.hand_over()
        return future

    def free_slot(self) -> None:
        """Take a slot back that a settle had kept."""
        self._give_slot(None)

    async def give_back(self, message: int, claim: int) -> Settlement:
        """Put a delivery of this consumer back. It goes on when the wait for it is cancelled."""
        if self._session.submitter.closed:
            return Settlement.LOST
        given = self._hand_back(claim, [message])
        self._give_slot(None)
        try:
            return Settlement.DONE if await given else Settlement.LOST
        except BrokerError:
            self._take_slot()
            raise

    async def is_held(self, message: int, claim: int) -> bool:
        """Say whether a delivery is still this consumer's."""
        submitter = self._session.submitter
        return not submitter.closed and await submitter.submit(IsHeld(message, claim))

    def _hand_back(self, claim: int, messages: list[int]) -> asyncio.Future[int]:
        returning = self._session.submitter.submit(HandBack(self.subscription, claim, messages))
        self._returning.add(returning)
        returning.add_done_callback(self._returning.discard)
        return returning

    def _give_slot(self, settle: Settle | None) -> None:
        self._held -= 1
        if self._stopped or self._session.submitter.closed or self._held + self._asked >= self._prefetch:
            return
        if settle is None:
            self._claim()
            return
        self._held += 1  # while the free ones are counted: this one goes with its settle
        claim = self._claim()
        self._held -= 1
        claim.settles.append(settle)
        self._asked += 1

    def _take_slot(self) -> None:
        self._held += 1

    # Claims.

    def _free(self) -> int:
        return max(0, self._prefetch - self._held - self._asked)

    def _claim(self) -> Claim:
        """Return the claim of this turn of the loop, with all free slots in it."""
        if self._next is None:
            self._next = Claim(self.subscription, self._session.clock, self._left, self._claimed)
            self._under_way.add(self._next)
            self._session.submitter.submit_last(self._next)
        free = self._free()
        self._next.free += free
        self._asked += free
        return self._next

    def _left(self) -> None:
        self._next = None

    def _claimed(self, claim: Claim, claimed: Claimed | None) -> None:
        self._under_way.discard(claim)
        self._asked -= claim.asked
        if claimed is not None:
            self._hand_over(claimed)
        if self._poked and not self._under_way:
            self._poked = False
            self.poke()

    def _hand_over(self, claimed: Claimed) -> None:
        rows, room = claimed.rows, 0 if self._stopped else max(0, self._prefetch - self._held)
        if len(rows) > room:  # the slots became fewer meanwhile
            rows, late = rows[:room], rows[room:]
            if not self._session.submitter.closed:
                self._hand_back(claimed.claim, [row[0] for row in late])
        if self._stopped:
            return
        if claimed.exhausted:
            self._timer.set(claimed.next_due)
        else:
            self._poked = True  # there may be more, for slots that an earlier claim on its way could not fill
        self._held += len(rows)
        for id, _, redeliveries, properties, body in rows:
            self._deliver(SqliteDelivery(self, unpack(properties, body), id, claimed.claim, redeliveries))


def _nothing() -> None:
    pass


def _forget(closing: asyncio.Task[None]) -> None:
    """Look at an error that nobody else looks at: who opened it has been told already."""
    if not closing.cancelled():
        closing.exception()


async def _lost() -> Settlement:
    return Settlement.LOST
