"""A delivery, and its settlement: replacements, their confirms, then the ack. Each frees its slot once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from taskq.broker.protocol import Outgoing, Settlement
from taskq.wire.message import Message

if TYPE_CHECKING:
    from taskq.broker.amqp.consumer import AmqpConsumer
    from taskq.broker.amqp.plane.hotchannel import HotChannel


class Settlements:
    """The settlements of a consumer that wait for confirms."""

    def __init__(self) -> None:
        self._open: dict[asyncio.Future[Settlement], tuple[HotChannel, Sequence[asyncio.Future[None]]]] = {}

    def begin(self, channel: HotChannel, confirms: Sequence[asyncio.Future[None]]) -> asyncio.Future[Settlement]:
        """Return a future for the end of a settlement on ``channel``, which waits for ``confirms``."""
        done: asyncio.Future[Settlement] = asyncio.get_running_loop().create_future()
        self._open[done] = channel, confirms
        done.add_done_callback(self._open.pop)
        return done

    def give_up(self) -> None:
        """Cancel those whose channel is gone: somebody else has the job, and what was not sent yet would double it."""
        for channel, confirms in self._open.values():
            if channel.gone is not None:
                for confirm in confirms:
                    confirm.cancel()

    async def wait(self, timeout_s: float) -> None:
        """Wait for all of them, and no longer than that."""
        if self._open:
            await asyncio.wait(list(self._open), timeout=timeout_s)


class AmqpDelivery:
    """Implements :class:`taskq.broker.protocol.Delivery`. It knows its channel: its tag means nothing on another."""

    __slots__ = ("_channel", "_consumer", "_kept", "_settling", "message", "redeliveries", "tag")

    def __init__(
        self, consumer: AmqpConsumer, channel: HotChannel, tag: int, message: Message, redeliveries: int
    ) -> None:
        self._consumer = consumer
        self._channel = channel
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
        if self._channel.over:
            return self._lose(keep_slot)
        if not replacements:
            self._settling = True
            return self._acknowledge(keep_slot)
        # Who waits may give up; the replacements are on their way, and the ack follows them.
        return await asyncio.shield(self.replace(replacements, keep_slot=keep_slot))

    def replace(self, replacements: Sequence[Outgoing], *, keep_slot: bool = False) -> asyncio.Future[Settlement]:
        """Publish what replaces it, without a deadline, and acknowledge it when that is confirmed.

        That goes on whether somebody waits for it or not. When a replacement is refused, the future has the error, and
        the delivery can be settled in another way; when AMQP cannot carry it, that is raised at once.
        """
        confirms = self._published(replacements)
        self._settling = True
        done = self._consumer.settlements.begin(self._channel, confirms)
        missing = len(confirms)

        def one_ended(_: asyncio.Future[None]) -> None:
            nonlocal missing
            missing -= 1
            if not missing:
                self._replaced(confirms, done, keep_slot)

        for confirm in confirms:
            confirm.add_done_callback(one_ended)
        return done

    def release_slot(self) -> None:
        """Free the slot that a settle kept; at any other time it does nothing."""
        if self._kept:
            self._kept = False
            self._consumer.free_slot()

    def _published(self, replacements: Sequence[Outgoing]) -> list[asyncio.Future[None]]:
        confirms: list[asyncio.Future[None]] = []
        try:
            for outgoing in replacements:
                confirms.append(self._consumer.publish(outgoing))
        except Exception:
            for confirm in confirms:
                confirm.cancel()  # what was not sent yet would only double what comes in its place
            raise
        return confirms

    def _replaced(
        self, confirms: Sequence[asyncio.Future[None]], done: asyncio.Future[Settlement], keep_slot: bool
    ) -> None:
        if self._channel.over:
            done.set_result(self._lose(keep_slot))
        elif errors := [error for confirm in confirms if (error := confirm.exception()) is not None]:
            self._settling = False
            done.set_exception(errors[0])
            done.exception()  # the wait may have been given up
        else:
            done.set_result(self._acknowledge(keep_slot))

    def _lose(self, keep_slot: bool) -> Settlement:
        """Take note that it is somebody else's. Its job has ended all the same, and has its slot no more."""
        self._settling = True
        self._kept = keep_slot
        self._consumer.lose(self._channel, self.tag, keep_slot=keep_slot)
        return Settlement.LOST

    def _acknowledge(self, keep_slot: bool) -> Settlement:
        self._kept = keep_slot
        self._consumer.acknowledge(self._channel, self.tag, keep_slot=keep_slot)
        return Settlement.DONE
