"""Consumes one queue, over connections and consumers that come and go, and never more than it has slots for.

Theory of operation. The broker bounds what it hands out by the prefetch of an AMQP consumer, which is fixed when that
is made. A slot that a settle keeps (its thread still runs) must not be filled, although its delivery is acknowledged.
So the AMQP consumer is *refitted* then: cancelled before the ack goes out, and made again with a smaller prefetch, or
not at all while that is 0. What the cancelled one had handed out (the orphans) counts too until it is settled. Thus

    prefetch of the AMQP consumer = slots - kept - orphans

is kept by refitting whenever it does not hold; in the normal course nothing is ever kept, and it always holds.

When the broker ends the consumer alone (its queue was deleted, or has a new leader), the queue is declared again as the
program described it, and consumed on a new channel: RabbitMQ may crash when a queue of the same name is consumed on the
old one. That stays until the deliveries are settled that still run on it, and they count as orphans. When a channel or
the connection goes, its deliveries are nobody's any more: they settle to nothing, and the broker hands them out again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from pamqp import commands
from pamqp.base import Frame

from taskq.broker.amqp.delivery import AmqpDelivery
from taskq.broker.amqp.link import Link
from taskq.broker.amqp.plane.commands import consume
from taskq.broker.amqp.plane.events import Cancelled, Delivered, Event, Got
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.received import REDELIVERIES, Received, received
from taskq.broker.amqp.refusals import refused_channel
from taskq.broker.amqp.surroundings import Surroundings
from taskq.broker.protocol import Delivery, Outgoing, Settlement
from taskq.errors import BrokerError
from taskq.lifecycle import ConsumerInterrupted, ConsumerResumed
from taskq.wire.headers import for_copy
from taskq.wire.ids import new_message_id

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_DELETION_S = 0.2
_CLOSE_S = 5.0


class AmqpConsumer:
    """Implements :class:`taskq.broker.protocol.Consumer`."""

    def __init__(self, broker: Surroundings, queue: str, *, prefetch: int, deliver: Callable[[Delivery], None]) -> None:
        self.queue = queue
        self._broker = broker
        self._deliver = deliver
        self._slots = prefetch
        self._kept = 0
        self._outstanding: set[int] = set()
        self._orphans: set[int] = set()
        self._former: dict[HotChannel, set[int]] = {}  # channels without a consumer, and what still runs on them
        self._closing: set[asyncio.Task[None]] = set()
        self._channel: HotChannel | None = None
        self._tag = 0  # of the AMQP consumer that was asked for last
        self._prefetch = 0  # and its prefetch; 0 when it was cancelled
        self._cancelling: asyncio.Future[Frame | Got] | None = None
        self._refitting: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._broken = asyncio.Event()
        self._settling: dict[asyncio.Future[Settlement], tuple[HotChannel, Sequence[asyncio.Future[None]]]] = {}
        self._stopping = False
        self._closed = False

    async def open(self) -> None:
        """Consume, and keep consuming. Raises :class:`Unroutable` when there is no such queue."""
        while True:
            link = await self._broker.lifeline.link()
            try:
                await self._consume_over(link)
            except ChannelGone as gone:
                if gone.code:
                    raise self._error(gone) from None
            else:
                break
        self._keeper = asyncio.create_task(self._keep(), name=f"taskq: consumer of {self.queue}")

    async def stop(self) -> None:
        """Take no further delivery; see the protocol."""
        if self._stopping:
            return
        self._stopping = True
        for task in (self._keeper, self._refitting):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._channel is not None:
            self._cancel(self._channel)
        if self._cancelling is not None:
            await asyncio.wait({self._cancelling}, timeout=_CLOSE_S)

    async def close(self) -> None:
        """Stop, and give back what is not settled."""
        if self._closed:
            return
        self._closed = True
        await self.stop()
        if self._settling:
            await asyncio.wait(list(self._settling), timeout=_CLOSE_S)
        if self._channel is not None:
            await self._channel.close_within(_CLOSE_S)
        await asyncio.gather(*self._closing, *(channel.close_within(_CLOSE_S) for channel in self._former))

    # What deliveries ask for.

    def publish(self, outgoing: Outgoing) -> asyncio.Future[None]:
        """Publish without a deadline."""
        return self._broker.publish_always(outgoing)

    def begin_settling(
        self, channel: HotChannel, confirms: Sequence[asyncio.Future[None]]
    ) -> asyncio.Future[Settlement]:
        """Return a future for the end of a settlement, which waits for ``confirms``. A close waits for it."""
        done: asyncio.Future[Settlement] = asyncio.get_running_loop().create_future()
        self._settling[done] = channel, confirms
        done.add_done_callback(self._settling.pop)
        return done

    def acknowledge(self, channel: HotChannel, tag: int, *, keep_slot: bool) -> None:
        """Take a delivery from the broker's books, with its slot or without."""
        if keep_slot:
            self._kept += 1
            if self._channel is not None:
                self._cancel(self._channel)  # which leaves before the ack: the broker fills no slot in between
        channel.ack(tag)
        if channel is self._channel:
            self._outstanding.discard(tag)
            self._orphans.discard(tag)
        else:
            self._settled_on_former(channel, tag)
        if keep_slot or self._orphans or self._prefetch < self._slots:
            self._refit()

    def free_slot(self) -> None:
        """Use a slot again that was kept."""
        self._kept -= 1
        self._refit()

    # The AMQP consumer, and its prefetch.

    async def _consume(self, channel: HotChannel, prefetch: int) -> None:
        self._tag += 1
        self._prefetch = prefetch
        qos = channel.ask(commands.Basic.Qos(prefetch_count=prefetch))
        await channel.call(consume(self.queue, str(self._tag)))
        await qos

    def _cancel(self, channel: HotChannel) -> None:
        if self._prefetch:
            self._prefetch = 0
            self._cancelling = channel.ask(commands.Basic.Cancel(consumer_tag=str(self._tag)))

    def _refit(self) -> None:
        if self._stopping or self._broken.is_set() or self._channel is None or self._channel.over:
            return
        if self._refitting is None or self._refitting.done():
            self._refitting = asyncio.create_task(self._refitted(self._channel), name="taskq: prefetch")

    async def _refitted(self, channel: HotChannel) -> None:
        """Cancel and consume until the prefetch is what the slots leave."""
        with suppress(ChannelGone):
            while channel is self._channel:
                if (cancelling := self._cancelling) is not None:
                    await asyncio.shield(cancelling)
                    if self._cancelling is cancelling:
                        self._orphans, self._cancelling = set(self._outstanding), None
                    continue
                wanted = self._spare()
                if wanted == self._prefetch:
                    return
                if self._prefetch:
                    self._cancel(channel)
                else:
                    await self._consume(channel, wanted)

    def _spare(self) -> int:
        """Return how many slots there are beside those that are kept, and those of orphans."""
        return max(0, self._slots - self._kept - len(self._orphans) - sum(map(len, self._former.values())))

    # The channel.

    async def _keep(self) -> None:
        while True:
            await self._broken.wait()
            pause_s = _FIRST_PAUSE_S
            if self._channel is None:
                # RabbitMQ tells before it has deleted the queue, and crashes a channel that consumes it in that moment.
                await asyncio.sleep(_DELETION_S)
            while not await self._mended():
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            self._broker.emit(ConsumerResumed(queue=self.queue))

    async def _mended(self) -> bool:
        link = await self._broker.lifeline.link()
        try:
            await self._broker.redeclare(self.queue)
            await self._consume_over(link)
        except (ChannelGone, BrokerError):
            return False
        return not self._broken.is_set()

    async def _consume_over(self, link: Link) -> None:
        channel = await link.hot_channel(self._receive, self._gone)
        self._broken.clear()
        self._channel = channel
        self._outstanding, self._orphans, self._cancelling = set(), set(), None
        if spare := self._spare():
            await self._consume(channel, spare)

    def _gone(self, gone: ChannelGone) -> None:
        for channel, confirms in self._settling.values():
            if channel.gone is not None:
                for confirm in confirms:
                    confirm.cancel()  # the job is somebody else's now: what was not sent yet would only double it
        for former in [channel for channel in self._former if channel.gone is not None]:
            del self._former[former]
        if self._channel is not None and self._channel.gone is not None:
            self._interrupted(str(gone))

    def _retire(self, channel: HotChannel) -> None:
        """Let what runs on a channel end there, and close it then."""
        self._former[channel] = self._outstanding
        self._outstanding, self._orphans, self._channel = set(), set(), None
        self._settled_on_former(channel, 0)

    def _settled_on_former(self, channel: HotChannel, tag: int) -> None:
        running = self._former.get(channel)
        if running is None:
            return
        running.discard(tag)
        if not running:
            del self._former[channel]
            closing = asyncio.create_task(channel.close_within(_CLOSE_S), name="taskq: end of a channel")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _interrupted(self, reason: str) -> None:
        self._prefetch = 0
        if not self._broken.is_set():
            self._broken.set()
            if self._keeper is not None and not self._stopping:
                self._broker.emit(ConsumerInterrupted(queue=self.queue, reason=reason))

    def _error(self, gone: ChannelGone) -> BrokerError:
        return refused_channel(gone.text, self._broker.label, "read") or BrokerError(f"{self._broker.label}: {gone}")

    # What arrives.

    def _receive(self, event: Event) -> None:
        channel = self._channel
        if isinstance(event, Cancelled) and channel is not None:
            self._retire(channel)
            self._interrupted("the broker ended it; was the queue deleted?")
        elif isinstance(event, Delivered) and channel is not None and not self._closed:
            self._outstanding.add(event.tag)
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
        headers = dict(arrived.message.headers)
        if delivery.redeliveries:
            headers[REDELIVERIES] = delivery.redeliveries
        copy = replace(arrived.message, message_id=new_message_id(), headers=for_copy(headers))
        replacing = delivery.replace([Outgoing(copy, self.queue, not_before=arrived.not_before)])
        replacing.add_done_callback(lambda done: None if done.exception() is None else self._deliver(delivery))
