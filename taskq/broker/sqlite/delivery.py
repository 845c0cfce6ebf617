"""A message that was claimed for a consumer."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from taskq.broker.protocol import Outgoing, Settlement
from taskq.broker.sqlite.subscription import Subscription
from taskq.wire.message import Message


class Holder(Protocol):
    """The consumer, as its deliveries see it."""

    @property
    def subscription(self) -> Subscription: ...

    def settle(
        self, message: int, claim: int, replacements: Sequence[Outgoing], *, keep_slot: bool
    ) -> Awaitable[Settlement]: ...

    def free_slot(self) -> None: ...

    def give_back(self, message: int, claim: int) -> Awaitable[Settlement]: ...

    def is_held(self, message: int, claim: int) -> Awaitable[bool]: ...


class SqliteDelivery:
    """Implements :class:`taskq.broker.protocol.Delivery`."""

    __slots__ = ("_claim", "_consumer", "_id", "_kept", "_message", "_redeliveries", "_settling")

    def __init__(self, consumer: Holder, message: Message, id: int, claim: int, redeliveries: int) -> None:
        self._consumer = consumer
        self._message = message
        self._id = id
        self._claim = claim
        self._redeliveries = redeliveries
        self._settling = False
        self._kept = False

    @property
    def message(self) -> Message:
        return self._message

    @property
    def queue(self) -> str:
        return self._consumer.subscription.name

    @property
    def redeliveries(self) -> int:
        return self._redeliveries

    async def settle(self, replacements: Sequence[Outgoing] = (), *, keep_slot: bool = False) -> Settlement:
        """Replace the delivery; see the protocol. A second settle finds nothing left and returns ``LOST``."""
        if self._settling:
            return Settlement.LOST
        self._settling = True
        self._kept = keep_slot
        try:
            return await self._consumer.settle(self._id, self._claim, replacements, keep_slot=keep_slot)
        except Exception:
            self._settling = self._kept = False  # nothing was done: it can be settled in another way
            raise

    async def give_back(self) -> Settlement:
        """Put it back, as often delivered as before; see the protocol."""
        if self._settling:
            return Settlement.LOST
        self._settling = True
        try:
            return await self._consumer.give_back(self._id, self._claim)
        except Exception:
            self._settling = False
            raise

    async def is_ours(self) -> bool:
        """Say whether it can still be settled."""
        return not self._settling and await self._consumer.is_held(self._id, self._claim)

    def release_slot(self) -> None:
        """Free the slot that a settle kept; at any other time it does nothing."""
        if self._kept:
            self._kept = False
            self._consumer.free_slot()
