"""One reply queue of this process: it keeps its name over all connections, and goes when the process says so.

It is made, read and deleted on one channel, so that the broker deletes it after it has made it, whenever that was given
up. It lives on one node of a cluster. While that is down it can be neither read nor made; who has it is told, and it
is tried again, since what lies in it comes back with the node. RabbitMQ 3.x says that the node is down. 4.x says
nothing at all until it is back: there the silence is what tells, and the answer is waited for all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from pamqp import commands

from taskq.broker.amqp.faults import translated
from taskq.broker.amqp.frames import declaration, deletion
from taskq.broker.amqp.link import Link
from taskq.broker.amqp.plane.commands import consume
from taskq.broker.amqp.plane.events import Cancelled, Delivered, Event
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.received import received
from taskq.broker.amqp.surroundings import Surroundings
from taskq.broker.amqp.topology import reply_queue
from taskq.broker.names import new_reply_queue
from taskq.errors import BrokerError, BrokerUnreachable
from taskq.lifecycle import ConsumerInterrupted, ConsumerResumed
from taskq.wire.message import Message

_PREFETCH = 1000
_MOST_UNACKED = _PREFETCH // 4
_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_SILENCE_S = 3.0
_CLOSE_S = 5.0
_NOT_FOUND = 404


class ReplyQueue:
    """Has a name of its own. ``receive`` gets what comes; ``homeless`` is called whenever its node is found down."""

    def __init__(self, broker: Surroundings, receive: Callable[[Message], None], homeless: Callable[[], None]) -> None:
        self.name = new_reply_queue()
        self._broker = broker
        self._take = receive
        self._homeless = homeless
        self._channel: HotChannel | None = None
        self._broken = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Make the queue and read it, now and after every loss. Raises :class:`BrokerError`; it can be tried again."""
        await self._opened(await self._broker.lifeline.link())
        if self._closed:
            self._leave()
            raise BrokerUnreachable(f"{self._broker.label} was closed by this program")
        self._keeper = asyncio.create_task(self._keep(), name="taskq: replies")

    async def close(self) -> None:
        """Take the queue down, as far as the broker answers; else it goes by itself. Harmless twice, and half open."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        channel = self._channel
        if channel is not None and not channel.over:
            with suppress(ChannelGone, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await channel.call(deletion(self.name))
                    await channel.close()
        self._leave()

    async def _keep(self) -> None:
        while True:
            await self._broken.wait()
            pause_s = _PAUSE_S
            while not await self._mended():
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            self._broker.emit(ConsumerResumed(queue=self.name))

    async def _mended(self) -> bool:
        try:
            link = await self._broker.lifeline.link()
            silence = asyncio.get_running_loop().call_later(_SILENCE_S, self._homeless)
            try:
                await self._opened(link)
            finally:
                silence.cancel()
        except BrokerError as error:
            if _is_about_its_node(error):
                self._homeless()
            return False
        return not self._broken.is_set()

    async def _opened(self, link: Link) -> None:
        self._leave()  # it may be there, and without its consumer
        with translated(self._broker.label, permission="configure"):
            self._channel = channel = await link.hot_channel(on_gone=self._gone)
            channel.listen(partial(self._receive, channel))
            await channel.call(declaration(reply_queue(self.name)))
        with translated(self._broker.label, permission="read"):
            self._broken.clear()
            qos = channel.ask(commands.Basic.Qos(prefetch_count=_PREFETCH))
            await channel.call(consume(self.name, "replies"))
            await qos

    def _leave(self) -> None:
        if self._channel is not None:
            self._channel.leave()
            self._channel = None

    def _gone(self, gone: ChannelGone) -> None:
        if self._channel is not None and self._channel.gone is not None:
            self._interrupted(str(gone))

    def _interrupted(self, reason: str) -> None:
        if self._keeper is not None and not self._closed and not self._broken.is_set():
            self._broker.emit(ConsumerInterrupted(queue=self.name, reason=reason))
        self._broken.set()

    def _receive(self, channel: HotChannel, event: Event) -> None:
        if isinstance(event, Delivered):
            try:
                if not self._closed:
                    self._take(received(event).message)
            finally:
                channel.ack_later(event.tag, _MOST_UNACKED)  # a reply that comes again is known, and harmless
        elif isinstance(event, Cancelled) and channel is self._channel:
            self._interrupted("the broker ended it; was the queue deleted?")


def _is_about_its_node(error: BrokerError) -> bool:
    """Whether the broker says that the queue is there, and its node is not: it is made where it is missing."""
    return isinstance(error.__cause__, ChannelGone) and error.__cause__.code == _NOT_FOUND
