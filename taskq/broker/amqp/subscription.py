"""A consumer of a temporary queue, which is made, bound and consumed on one connection, and again on the next.

An exclusive queue belongs to its connection and goes with it. When the broker has not noticed yet that the old one is
gone, it refuses to make the queue again (405), and that is tried until it has. What was published in between went by; a
:class:`SubscriptionGap` says so. When only the channel was lost, the queue is still there, and nothing was missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from taskq.broker.amqp.consumer import AmqpConsumer
from taskq.broker.amqp.declared import Declared
from taskq.broker.amqp.declaring import Declarer
from taskq.broker.amqp.link import Link
from taskq.broker.amqp.surroundings import Surroundings
from taskq.broker.amqp.topology import Topology, binding_spec, exchange_spec, temporary_queue
from taskq.broker.protocol import Delivery
from taskq.errors import BrokerError
from taskq.lifecycle import SubscriptionGap
from taskq.tasks.exchanges import TemporaryQueue

_CLOSE_S = 5.0


class Subscribed(Surroundings, Protocol):
    """A broker, as its subscriptions see it."""

    @property
    def declared(self) -> Declared: ...


class AmqpSubscription:
    """Implements :class:`taskq.broker.protocol.Consumer`. ``closed``: whether a close has begun."""

    def __init__(
        self, broker: Subscribed, queue: TemporaryQueue, *, prefetch: int, deliver: Callable[[Delivery], None]
    ) -> None:
        self._broker = broker
        self._queue = queue
        self._consumer = AmqpConsumer(
            broker, queue.name, prefetch=prefetch, deliver=deliver, prepare=self._prepare, resumed=self._resumed
        )
        self._link: Link | None = None  # the one that the queue belongs to
        self._missed = False
        self.closed = False

    async def open(self) -> None:
        """Make the queue, bind and consume it, now and after every loss. Raises :class:`BrokerError`."""
        self._broker.declared.add(bindings=self._queue.bindings)
        try:
            await self._consumer.open()
        except BaseException:
            await self._forget()
            raise
        self._missed = False

    async def set_prefetch(self, prefetch: int) -> None:
        """Hold at most so many deliveries; see the protocol."""
        await self._consumer.set_prefetch(prefetch)

    async def stop(self) -> None:
        """Take no further delivery; see the protocol."""
        await self._consumer.stop()

    async def close(self) -> None:
        """Stop, and delete the queue, as far as the broker answers; else it goes with the connection."""
        if self.closed:
            return
        self.closed = True
        await self._consumer.close()
        await self._forget()

    async def _prepare(self, link: Link, ended: bool) -> None:
        if self._link is not None and (ended or link is not self._link):
            self._missed = True
        bindings = self._broker.declared.bindings_to(self._queue.name)
        exchanges = self._broker.declared.exchanges_of(bindings)
        topology = Topology(
            exchanges=tuple(exchange_spec(each) for each in exchanges if each.declare),
            queues=(temporary_queue(self._queue),),
            bindings=tuple(binding_spec(binding) for binding in bindings),
        )
        self._link = link
        await self._declarer(link).apply(topology)

    def _resumed(self, after_s: float) -> None:
        if self._missed:
            self._missed = False
            self._broker.emit(SubscriptionGap(subscription=self._queue.label, missing_s=after_s))

    async def _forget(self) -> None:
        self._broker.declared.forget_bindings_to(self._queue.name)
        link = self._link
        if link is not None and link.alive:
            with suppress(BrokerError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._declarer(link).delete(self._queue.name)

    def _declarer(self, link: Link) -> Declarer:
        """Declare where the queue belongs to, and on no other connection."""
        return Declarer(link.hot_channel, label=self._broker.label)
