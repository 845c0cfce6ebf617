"""A delivery, and its settlement: replacements, their confirms, then the ack. Each frees its slot once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from taskq.broker.amqp.received import another
from taskq.broker.protocol import Outgoing, Settlement
from taskq.wire.message import Message

if TYPE_CHECKING:
    from taskq.broker.amqp.consumer import AmqpConsumer
    from taskq.broker.amqp.plane.hotchannel import HotChannel


class Settlements:
    """The settlements of a consumer that wait for confirms."""

    def __init__(self) -> None:
        self._open: dict[AmqpDelivery, Sequence[asyncio.Future[None]]] = {}
        self._ended: asyncio.Future[None] | None = None

    def begin(self, delivery: AmqpDelivery, confirms: Sequence[asyncio.Future[None]]) -> None:
        """Take note that a delivery waits for ``confirms``."""
        self._open[delivery] = confirms

    def end(self, delivery: AmqpDelivery) -> None:
        """Take note that it waits no more."""
        del self._open[delivery]
        if self._ended is not None and not self._open and not self._ended.done():
            self._ended.set_result(None)

    def give_up(self) -> None:
        """Cancel those whose channel is gone: somebody else has the job, and what was not sent yet would double it."""
        for delivery, confirms in self._open.items():
            if delivery.channel.gone is not None:
                for confirm in confirms:
                    confirm.cancel()

    async def wait(self, timeout_s: float) -> None:
        """Wait for all of them, and no longer than that."""
        if self._open:
            self._ended = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._ended}, timeout=timeout_s)


class AmqpDelivery:
    """Implements :class:`taskq.broker.protocol.Delivery`. It knows its channel: its tag means nothing on another."""

    __slots__ = ("_consumer", "_kept", "_settling", "channel", "message", "redeliveries", "tag")

    def __init__(
        self, consumer: AmqpConsumer, channel: HotChannel, tag: int, message: Message, redeliveries: int
    ) -> None:
        self._consumer = consumer
        self.channel = channel
        self.tag = tag
        self.message = message
        self.redeliveries = redeliveries
        self._settling = False
        self._kept = False

    @property
    def queue(self) -> str:
        """The queue that it came from."""
        return self._consumer.queue

    async def settle(self, replacements: Sequence[Outgoing] = (), *, keep_slot: bool = False) -> Settlement:
        """Replace the delivery; see the protocol. A second settle finds nothing left and returns ``LOST``."""
        if self._settling:
            return Settlement.LOST
        if self.channel.over:
            return self._lose(keep_slot)
        if not replacements:
            self._settling = True
            return self._acknowledge(keep_slot)
        return await self.replace(replacements, keep_slot=keep_slot)

    def replace(self, replacements: Sequence[Outgoing], *, keep_slot: bool = False) -> asyncio.Future[Settlement]:
        """Publish what replaces it, without a deadline, and acknowledge it when that is confirmed.

        That goes on whether somebody waits for it or not; to cancel the future takes nothing back. When a replacement
        is refused, the future has the error, and the delivery can be settled in another way.
        """
        confirms = [self._consumer.publish(outgoing) for outgoing in replacements]
        self._settling = True
        self._consumer.settlements.begin(self, confirms)
        done: asyncio.Future[Settlement] = asyncio.get_running_loop().create_future()
        missing = len(confirms)

        def one_ended(_: asyncio.Future[None]) -> None:
            nonlocal missing
            missing -= 1
            if not missing:
                self._replaced(confirms, done, keep_slot)

        for confirm in confirms:
            confirm.add_done_callback(one_ended)
        return done

    async def give_back(self) -> Settlement:
        """Replace it by a copy that came back as often: a requeue would count, up to RabbitMQ 4.2."""
        return await self.settle([Outgoing(another(self.message, self.redeliveries), self.queue)])

    async def is_ours(self) -> bool:
        """Say whether it can still be settled."""
        return not self._settling and not self.channel.over

    def release_slot(self) -> None:
        """Free the slot that a settle kept; at any other time it does nothing."""
        if self._kept:
            self._kept = False
            self._consumer.free_slot()

    def _replaced(
        self, confirms: Sequence[asyncio.Future[None]], done: asyncio.Future[Settlement], keep_slot: bool
    ) -> None:
        self._consumer.settlements.end(self)
        if not self.channel.over and (error := _first_error(confirms)) is not None:
            self._settling = False
            if not done.done():
                done.set_exception(error)
                done.exception()  # the wait may be given up before it is told
            return
        settlement = self._lose(keep_slot) if self.channel.over else self._acknowledge(keep_slot)
        if not done.done():
            done.set_result(settlement)

    def _lose(self, keep_slot: bool) -> Settlement:
        """Take note that it is somebody else's. Its job has ended all the same, and has its slot no more."""
        self._settling = True
        self._kept = keep_slot
        self._consumer.lose(self.channel, self.tag, keep_slot=keep_slot)
        return Settlement.LOST

    def _acknowledge(self, keep_slot: bool) -> Settlement:
        self._kept = keep_slot
        self._consumer.acknowledge(self.channel, self.tag, keep_slot=keep_slot)
        return Settlement.DONE


def _first_error(confirms: Sequence[asyncio.Future[None]]) -> BaseException | None:
    return next((error for confirm in confirms if (error := confirm.exception()) is not None), None)
