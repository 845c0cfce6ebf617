"""Consumes one queue, over connections and consumers that come and go, and never more than it has slots for.

A :class:`Feed` consumes it on one channel; this makes the channel, and another one when that has ended.

When the broker ends the AMQP consumer alone (its queue was deleted, or has a new leader), the queue is declared again
as the program described it, and consumed on a new channel: RabbitMQ may crash when a queue of the same name is consumed
on the old one. That stays until the deliveries are settled that still run on it. When a channel or the connection goes,
its deliveries are nobody's any more: they settle to nothing, and the broker hands them out again. Until then their jobs
run, and have their slots.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from taskq.broker.amqp.delivery import AmqpDelivery, Settlements
from taskq.broker.amqp.feed import Feed
from taskq.broker.amqp.interruption import Interruption
from taskq.broker.amqp.link import Link
from taskq.broker.amqp.plane.events import Cancelled, Delivered, Event
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.received import Received, received
from taskq.broker.amqp.refusals import refused_channel
from taskq.broker.amqp.surroundings import Surroundings
from taskq.broker.protocol import Delivery, Outgoing, Settlement
from taskq.errors import BrokerError

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_ANSWER_S, _LONGEST_ANSWER_S = 3.0, 60.0
_PATIENCE_S = 12.0  # three tries at the first opening
_DELETION_S = 0.2
_CLOSE_S = 5.0

Prepare = Callable[[Link, bool], Awaitable[None]]


class _NoAnswer(BrokerError):
    """The broker does not say that it consumes."""


class AmqpConsumer:
    """Implements :class:`taskq.broker.protocol.Consumer`.

    ``prepare`` makes the queue exist on the connection to consume it on, the first time and after each loss; true: the
    broker has ended the consumer, so it is gone. Without it the queue is one of the program's, which is declared again.
    ``resumed`` is told after each loss, with the seconds that it took. ``closed``: whether a close has begun.
    """

    def __init__(
        self,
        broker: Surroundings,
        queue: str,
        *,
        prefetch: int,
        deliver: Callable[[Delivery], None],
        prepare: Prepare | None = None,
        resumed: Callable[[float], None] = lambda after_s: None,
    ) -> None:
        self.queue = queue
        self.settlements = Settlements()
        self._broker = broker
        self._deliver = deliver
        self._prepare = prepare
        self._resumed = resumed
        self._feed = Feed(queue, prefetch)
        self._closing: set[asyncio.Task[None]] = set()
        self._rounds: set[asyncio.Future[Settlement]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._broken = asyncio.Event()
        self._answer_s = _ANSWER_S
        self._ended = False  # the broker has ended the AMQP consumer alone
        self._interruption = Interruption(broker, queue)
        self._stopping = False
        self.closed = False

    async def open(self) -> None:
        """Consume, and keep consuming. Raises :class:`Unroutable` when there is no such queue."""
        while True:
            link = await self._broker.lifeline.link()
            try:
                if self._prepare is not None:
                    await self._prepare(link, False)
                await self._consume_over(link)
            except ChannelGone as gone:
                if gone.code or link.alive:
                    raise self._error(gone) from None
            except _NoAnswer:
                if self._answer_s > _PATIENCE_S:
                    raise
            else:
                break
        self._keeper = asyncio.create_task(self._keep(), name=f"taskq: consumer of {self.queue}")

    async def set_prefetch(self, prefetch: int) -> None:
        """Hold at most so many deliveries; see the protocol."""
        await self._feed.fit(prefetch)
        while not prefetch and self._rounds:  # they came in before, and nobody else knows of them
            await asyncio.wait(self._rounds)

    async def stop(self) -> None:
        """Take no further delivery; see the protocol."""
        if self._stopping:
            return
        self._stopping = True
        if self._keeper is not None:
            self._keeper.cancel()  # the client library may swallow that; then it ends at its next turn
            await asyncio.wait({self._keeper}, timeout=_CLOSE_S)
        await self._feed.stop()

    async def close(self) -> None:
        """Stop, and give back what is not settled."""
        if self.closed:
            return
        self.closed = True
        await self.stop()
        await self.settlements.wait(_CLOSE_S)
        channels = {*self._feed.slots.places, *filter(None, [self._feed.channel])}
        await asyncio.gather(*self._closing, *(channel.close_within(_CLOSE_S) for channel in channels))

    # What deliveries ask for.

    def publish(self, outgoing: Outgoing) -> asyncio.Future[None]:
        """Publish without a deadline."""
        return self._broker.publish_always(outgoing)

    def acknowledge(self, channel: HotChannel, tag: int, *, keep_slot: bool) -> None:
        """Take a delivery from the broker's books, with its slot or without."""
        self._feed.acknowledge(channel, tag, keep=keep_slot)
        self._close_unused(channel)

    def lose(self, channel: HotChannel, tag: int, *, keep_slot: bool) -> None:
        """Take note that a delivery settled to nothing, with its slot or without."""
        self._feed.give(channel, tag, keep=keep_slot)

    def free_slot(self) -> None:
        """Use a slot again that was kept."""
        self._feed.free()

    # The channel.

    async def _keep(self) -> None:
        while not self._stopping:
            await self._broken.wait()
            self._interruption.begin()
            pause_s = _FIRST_PAUSE_S
            if self._ended:
                # RabbitMQ tells before it has deleted the queue, and crashes a channel that consumes it in that moment.
                await asyncio.sleep(_DELETION_S)
            while not self._stopping and not await self._mended():
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            if not self._stopping:
                self._resumed(self._interruption.end())

    async def _mended(self) -> bool:
        link = await self._broker.lifeline.link()
        try:
            if self._prepare is not None:
                await self._prepare(link, self._ended)
            else:
                await self._broker.redeclare(self.queue)
            if not self._stopping:
                await self._consume_over(link)
        except (ChannelGone, BrokerError) as error:
            if link.alive and not self._stopping:  # the loss of a connection is told already
                self._interruption.tell(error)
            return False
        self._answer_s = _ANSWER_S
        return not self._broken.is_set()

    async def _consume_over(self, link: Link) -> None:
        """Consume on a channel of its own. Raises :class:`ChannelGone`, :class:`BrokerError`.

        What a channel of RabbitMQ asks a quorum queue that has no leader, it asks for up to minutes, and meanwhile does
        nothing else; another channel gets through as soon as there is a leader.
        """

        def receive(event: Event) -> None:
            self._receive(channel, event)  # nothing comes before the channel is there

        channel = await link.hot_channel(receive, self._gone)
        self._broken.clear()
        self._ended = False
        try:
            async with asyncio.timeout(self._answer_s):
                await self._feed.open(channel)
        except TimeoutError:
            self._feed.leave()
            self._close_unused(channel)
            text = f"{self._broker.label} did not begin to deliver from {self.queue!r} within {self._answer_s:g} s"
            self._answer_s = min(2 * self._answer_s, _LONGEST_ANSWER_S)
            raise _NoAnswer(f"{text}; has the queue lost its leader?") from None

    def _gone(self, gone: ChannelGone) -> None:
        self.settlements.give_up()
        channel = self._feed.channel
        if channel is not None and channel.gone is not None:
            self._interrupted(gone)

    def _close_unused(self, channel: HotChannel) -> None:
        """Close a channel that is consumed no more, when nothing runs on it any more."""
        if channel is self._feed.channel or channel.over or self._feed.slots.runs_on(channel):
            return
        closing = asyncio.create_task(channel.close_within(_CLOSE_S), name="taskq: end of a channel")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _interrupted(self, why: ChannelGone | str) -> None:
        self._feed.leave()
        self._broken.set()
        if self._keeper is not None and not self._stopping:
            self._interruption.tell(why)

    def _error(self, gone: ChannelGone) -> BrokerError:
        return refused_channel(gone.text, self._broker.label, "read") or BrokerError(f"{self._broker.label}: {gone}")

    # What arrives.

    def _receive(self, channel: HotChannel, event: Event) -> None:
        if isinstance(event, Delivered):
            if not self.closed:
                self._received(channel, event)
        elif isinstance(event, Cancelled) and channel is self._feed.channel:
            self._ended = True
            self._interrupted("the broker ended it; was the queue deleted?")
            self._close_unused(channel)

    def _received(self, channel: HotChannel, event: Delivered) -> None:
        self._feed.slots.take(channel, event.tag)
        arrived = received(event)
        delivery = AmqpDelivery(self, channel, event.tag, arrived.message, arrived.redeliveries)
        if arrived.uncounted or arrived.not_before is not None:
            self._send_round(delivery, arrived)
        else:
            self._deliver(delivery)

    def _send_round(self, delivery: AmqpDelivery, arrived: Received) -> None:
        """Replace a delivery by a copy that says how often it came back, or that waits on."""
        if arrived.uncounted:
            delivery.redeliveries += 1
        copy = Outgoing(arrived.copy(delivery.redeliveries), self.queue, not_before=arrived.not_before)
        replacing = delivery.replace([copy])
        self._rounds.add(replacing)

        def replaced(done: asyncio.Future[Settlement]) -> None:
            self._rounds.discard(done)
            if done.exception() is not None:
                self._deliver(delivery)

        replacing.add_done_callback(replaced)
