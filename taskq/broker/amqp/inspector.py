"""Looking at queues, and taking single messages out of them, on channels made for the purpose.

RabbitMQ shows a message only by handing it out. So a look takes messages with Basic.Get and gives them back by closing
the channel, which counts as a redelivery of each; dead-letter queues are declared so that this never drops one.

A quorum queue has them back some time after the channel is closed. A look ends when they are there, so that what the
same program asks next finds them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from taskq.broker.amqp.declaring import Declarer
from taskq.broker.amqp.lifeline import Lifeline
from taskq.broker.amqp.plane.commands import get
from taskq.broker.amqp.plane.events import Event, Got
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.received import received
from taskq.broker.amqp.refusals import refused_channel
from taskq.broker.protocol import Outgoing, QueueState
from taskq.errors import BrokerError, Unroutable
from taskq.wire.message import Message

_AT_ONCE = 100
_CLOSE_S = 5.0
_GIVE_BACK_S = 1.0  # no longer than that: somebody may have taken them meanwhile
_LOOK_S = 0.01


class Inspected(Protocol):
    """What an inspector needs of its broker."""

    @property
    def label(self) -> str: ...

    @property
    def declarer(self) -> Declarer: ...

    async def lifeline_to_look(self) -> Lifeline: ...

    def known_queues(self, names: Iterable[str]) -> Iterable[str]: ...

    def publish_always(self, outgoing: Outgoing) -> asyncio.Future[None]: ...


class AmqpInspector:
    """Implements :class:`taskq.broker.protocol.Inspector`.

    RabbitMQ tells a client neither which queues there are nor how many deliveries are unsettled or delayed: the list
    is of the queues that this process declared or used.
    """

    def __init__(self, broker: Inspected) -> None:
        self._broker = broker

    async def queues(self, names: Iterable[str] = ()) -> list[QueueState]:
        """Return the known queues that exist, sorted by name."""
        known = sorted(self._broker.known_queues(names))
        found = await asyncio.gather(*(self._broker.declarer.counts(name) for name in known))
        return [
            QueueState(name, counts.ready, None, None, counts.consumers)
            for name, counts in zip(known, found, strict=True)
            if counts is not None
        ]

    async def browse(self, queue: str, *, limit: int) -> list[Message]:
        """Return up to ``limit`` messages that are ready, the oldest first."""
        messages: list[Message] = []
        async with self._channel() as channel:
            while len(messages) < limit:
                wanted = min(_AT_ONCE, limit - len(messages))
                page = await self._page(channel, queue, wanted)
                messages += [received(got).message for got in page]
                if len(page) < wanted:
                    break
        await self._given_back(queue, len(messages))
        return messages

    async def rework(self, queue: str, decide: Callable[[Message], Sequence[Outgoing] | None]) -> int:
        """Offer each message that is ready now to ``decide``, page by page.

        What it leaves stays taken until the end, so that nothing is offered twice.
        """
        counts = await self._broker.declarer.counts(queue)
        if counts is None:
            raise Unroutable(queue)
        settled, offered, left = 0, 0, counts.ready
        try:
            async with self._channel() as channel:
                while left > 0:
                    page = await self._page(channel, queue, min(_AT_ONCE, left))
                    offered += len(page)
                    left = left - len(page) if page else 0
                    settled += await self._rework_page(channel, page, decide)
        finally:
            await self._given_back(queue, offered - settled)
        return settled

    async def _rework_page(
        self, channel: HotChannel, page: Sequence[Got], decide: Callable[[Message], Sequence[Outgoing] | None]
    ) -> int:
        settling: list[Awaitable[None]] = []
        try:
            for got in page:
                replacements = decide(received(got).message)
                if replacements is not None:
                    settling.append(self._settle(channel, got, replacements))
        finally:
            await asyncio.gather(*settling)
        return len(settling)

    async def _given_back(self, queue: str, count: int) -> None:
        """Wait until the queue has ``count`` messages back, as long as that is to be expected."""
        until = asyncio.get_running_loop().time() + _GIVE_BACK_S
        while count and asyncio.get_running_loop().time() < until:
            state = await self._broker.declarer.counts(queue)
            if state is None or state.ready >= count:
                return
            await asyncio.sleep(_LOOK_S)

    async def _settle(self, channel: HotChannel, got: Got, replacements: Sequence[Outgoing]) -> None:
        await asyncio.gather(*(self._broker.publish_always(outgoing) for outgoing in replacements))
        channel.ack(got.tag)

    async def _page(self, channel: HotChannel, queue: str, size: int) -> list[Got]:
        answers = [channel.ask(get(queue)) for _ in range(size)]
        try:
            return [answer for answer in await asyncio.gather(*answers) if isinstance(answer, Got)]
        except ChannelGone as gone:
            label = self._broker.label
            raise refused_channel(gone.text, label, "read") or BrokerError(f"{label}: {gone}") from None

    @asynccontextmanager
    async def _channel(self) -> AsyncGenerator[HotChannel]:
        link = await (await self._broker.lifeline_to_look()).link()
        channel = await link.hot_channel(_nothing)
        try:
            yield channel
        finally:
            await channel.close_within(_CLOSE_S)


def _nothing(event: Event) -> None:
    """Nothing comes unasked on such a channel."""
