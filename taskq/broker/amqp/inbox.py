"""The reply queue of this process: it keeps its name over all connections, and goes when the process says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from pamqp import commands

from taskq.broker.amqp.plane.commands import consume
from taskq.broker.amqp.plane.events import Cancelled, Delivered, Event
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.received import received
from taskq.broker.amqp.surroundings import Surroundings
from taskq.broker.amqp.topology import Topology, reply_queue
from taskq.broker.names import new_reply_queue
from taskq.errors import BrokerError
from taskq.lifecycle import ConsumerInterrupted, ConsumerResumed
from taskq.wire.message import Message

_PREFETCH = 1000
_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_CLOSE_S = 5.0


class AmqpInbox:
    """Implements :class:`taskq.broker.protocol.Inbox`."""

    def __init__(self, broker: Surroundings, receive: Callable[[Message], None]) -> None:
        self._broker = broker
        self._take = receive
        self._name = new_reply_queue()
        self._channel: HotChannel | None = None
        self._broken = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def address(self) -> str:
        """The queue's name."""
        return self._name

    async def open(self) -> None:
        """Make the queue and read it, now and after every loss. Raises :class:`BrokerError`."""
        while not await self._opened(first=True):
            pass  # the connection was lost in the meantime, and the next try waits for the new one
        self._keeper = asyncio.create_task(self._keep(), name="taskq: replies")

    async def close(self) -> None:
        """Take the queue down, as far as the broker answers; else it goes by itself. Harmless twice."""
        if self._closed:
            return
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._channel is not None and self._channel.gone is None:
            await self._channel.close_within(_CLOSE_S)
            with suppress(BrokerError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._broker.declarer.delete(self._name)

    async def _keep(self) -> None:
        while True:
            await self._broken.wait()
            pause_s = _PAUSE_S
            while not await self._opened():
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            self._broker.emit(ConsumerResumed(queue=self._name))

    async def _opened(self, *, first: bool = False) -> bool:
        link = await self._broker.lifeline.link()
        if self._channel is not None:
            await self._channel.close_within(_CLOSE_S)  # it may be there, and without its consumer
        try:
            await self._broker.declarer.apply(Topology(queues=(reply_queue(self._name),)))
            channel = await link.hot_channel(self._receive, self._gone)
            self._broken.clear()
            qos = channel.ask(commands.Basic.Qos(prefetch_count=_PREFETCH))
            self._channel = channel
            await channel.call(consume(self._name, "replies"))
            await qos
        except BrokerError:
            if first and link.alive:
                raise
            return False
        except ChannelGone:
            return False
        return True

    def _gone(self, gone: ChannelGone) -> None:
        self._interrupted(str(gone))

    def _interrupted(self, reason: str) -> None:
        if self._keeper is not None and not self._closed and not self._broken.is_set():
            self._broker.emit(ConsumerInterrupted(queue=self._name, reason=reason))
        self._broken.set()

    def _receive(self, event: Event) -> None:
        channel = self._channel
        if isinstance(event, Delivered) and channel is not None:
            channel.ack(event.tag)
            if not self._closed:
                self._take(received(event).message)
        elif isinstance(event, Cancelled):
            self._interrupted("the broker ended it; was the queue deleted?")
