"""Looking at queues, and taking single messages out of them, on channels made for the purpose.

RabbitMQ shows a message only by handing it out. So a look takes messages with Basic.Get and gives them back by closing
the channel, which counts as a redelivery of each; dead-letter queues are declared so that this never drops one.

A quorum queue has them back some time after the channel is closed. A look ends when they are there, so that what the
same program asks next finds them. They are taken on the connection that never publishes, since an alarm that stops the
other one would keep them from being given back.

Nothing waits longer than the contract's other operations: the deadline is one for each step of a look, and for each
page and publish of a rework.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from taskq.broker.amqp.catalogue import Catalogue, Catalogued
from taskq.broker.amqp.faults import translated
from taskq.broker.amqp.lifeline import Lifeline
from taskq.broker.amqp.patience import Progress
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.received import received
from taskq.broker.amqp.rework import AT_ONCE, Decide, Rework, Reworked, take
from taskq.broker.protocol import ExchangeState, Listing, QueueState
from taskq.errors import BrokerError, Unroutable
from taskq.tasks.exchanges import Binding
from taskq.wire.message import Message

_CLOSE_S = 5.0
_GIVE_BACK_S = 1.0  # no longer than that: somebody may have taken them meanwhile
_LOOK_S = 0.01


class Inspected(Catalogued, Reworked, Protocol):
    """What an inspector needs of its broker."""

    @property
    def lifeline(self) -> Lifeline: ...


class AmqpInspector:
    """Implements :class:`taskq.broker.protocol.Inspector`.

    RabbitMQ tells a client neither which queues there are nor how many deliveries are unsettled or delayed: what
    ``queues`` returns are those that this process declared or used. For the lists see
    :mod:`~taskq.broker.amqp.catalogue`.
    """

    def __init__(self, broker: Inspected) -> None:
        self._broker = broker
        self._catalogue = Catalogue(broker)

    async def queues(self, names: Iterable[str] = ()) -> list[QueueState]:
        """Return the known queues that exist, sorted by name. Raises :class:`QueueMismatch` for an exclusive one."""
        return await self._catalogue.known(names)

    async def list_queues(self, names: Iterable[str] = ()) -> Listing[QueueState]:
        """Return all queues of the virtual host, as far as it tells; else as :meth:`queues`."""
        return await self._catalogue.queues(names)

    async def list_exchanges(self, names: Iterable[str] = ()) -> Listing[ExchangeState]:
        """Return all exchanges of the virtual host, as far as it tells; else those of ``names`` that exist."""
        return await self._catalogue.exchanges(names)

    async def list_bindings(self) -> Listing[Binding]:
        """Return all bindings of exchanges to queues, where the management API answers."""
        return await self._catalogue.bindings()

    async def browse(self, queue: str, *, limit: int) -> list[Message]:
        """Return up to ``limit`` messages that are ready, the oldest first."""
        messages = await self._broker.patience.through(lambda progress: self._browsed(queue, limit, progress))
        await self._given_back(queue, len(messages))
        return messages

    async def rework(self, queue: str, decide: Decide) -> int:
        """Offer each message that is ready now to ``decide``, page by page.

        What was not replaced or dropped stays, also when this ends with an error.
        """
        counts = await self._broker.patience.through(lambda _: self._broker.declarer.counts(queue))
        if counts is None:
            raise Unroutable(queue)
        rework = Rework(self._broker, queue, decide)
        try:
            async with self._channel(rework.give_up) as channel:
                await rework.run(channel, counts.ready)
        except Exception:
            await self._given_back(queue, rework.left)
            raise
        await self._given_back(queue, rework.left)
        return rework.settled

    async def _browsed(self, queue: str, limit: int, progress: Progress) -> list[Message]:
        messages: list[Message] = []
        async with self._channel() as channel:
            while len(messages) < limit:
                wanted = min(AT_ONCE, limit - len(messages))
                page = await take(channel, queue, wanted, self._broker.label)
                progress.step(len(page))
                messages += [received(got).message for got in page]
                if len(page) < wanted:
                    break
        return messages

    async def _given_back(self, queue: str, count: int) -> None:
        """Wait until the queue has ``count`` messages back, as long as that is to be expected."""
        with suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(_GIVE_BACK_S):
                while count:
                    state = await self._broker.declarer.counts(queue)
                    if state is None or state.ready >= count:
                        return
                    await asyncio.sleep(_LOOK_S)

    @asynccontextmanager
    async def _channel(self, on_gone: Callable[[ChannelGone], None] = lambda gone: None) -> AsyncGenerator[HotChannel]:
        link = await self._broker.lifeline.link()
        with translated(self._broker.label):
            channel = await link.hot_channel(on_gone=on_gone)
        try:
            yield channel
            await channel.close_within(_CLOSE_S)
        finally:
            channel.leave()
