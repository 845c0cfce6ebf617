"""The RabbitMQ broker: it puts the parts together, opens them and closes them in order.

Two connections, since an alarm stops the reading of the one that publishes: confirms and acks must not share it. The
first is opened on entering, the other when something is consumed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from random import Random
from types import TracebackType
from typing import Self, TypeVar

from aio_pika.abc import AbstractChannel

from taskq.broker.amqp.consumer import AmqpConsumer
from taskq.broker.amqp.declaring import Declarer
from taskq.broker.amqp.delays import DelayRoutes
from taskq.broker.amqp.inbox import AmqpInbox
from taskq.broker.amqp.inspector import AmqpInspector
from taskq.broker.amqp.lifeline import Lifeline, Way
from taskq.broker.amqp.location import read_location
from taskq.broker.amqp.publisher import Publisher
from taskq.broker.names import dead_queue
from taskq.broker.protocol import Delivery, Outgoing
from taskq.clock import Clock
from taskq.errors import BrokerUnreachable, UsageError
from taskq.lifecycle import Event, ReplyDropped
from taskq.tasks.queues import DEAD_SUFFIX, Queue
from taskq.wire.message import Message

_TIMEOUT_S = 15.0  # of what has no deadline of its own in the contract
_PAUSE_S = 0.05

T = TypeVar("T")


class AmqpBroker:
    """Implements :class:`taskq.broker.protocol.Broker` on RabbitMQ 3.10 to 4.x.

    ``url``: ``amqp://user:password@host:5672,other/vhost``, or ``amqps://…`` with TLS. ``heartbeat_s``: a connection
    without a sign of life is given up after twice that. ``ack_timeout_s``: how long the broker leaves a delivery with a
    consumer. ``emit`` is called on the loop.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        app_name: str = "taskq",
        emit: Callable[[Event], None] | None = None,
        connect_timeout_s: float = 10.0,
        heartbeat_s: int = 15,
        ack_timeout_s: float = 1800.0,
        rng: Random | None = None,
    ) -> None:
        self._location = read_location(url)
        self._clock = clock
        self._emit = emit
        self._app_name = app_name
        self._connect_timeout_s = connect_timeout_s
        self._heartbeat_s = heartbeat_s
        self.ack_timeout_s: float | None = ack_timeout_s
        self._rng = rng or Random()
        self._queues: dict[str, Queue] = {}
        self._used: set[str] = set()
        self._consumers: list[AmqpConsumer] = []
        self._inboxes: list[AmqpInbox] = []
        self._parts: _Parts | None = None
        self._closed = False

    @property
    def label(self) -> str:
        """Its URL, password redacted."""
        return self._location.label

    async def __aenter__(self) -> Self:
        if self._parts is not None or self._closed:
            raise UsageError("a broker is entered once; make another one")
        way = Way(
            location=self._location,
            program=self._app_name,
            heartbeat_s=self._heartbeat_s,
            connect_timeout_s=self._connect_timeout_s,
            emit=self.emit,
            rng=self._rng,
        )
        self._parts = parts = _Parts(self, way, self._clock)
        try:
            await parts.publishing.start()
        except BaseException:
            self._closed, self._parts = True, None
            raise
        parts.publisher.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._closed:
            return
        self._closed = True
        parts = self._open
        await asyncio.gather(*(consumer.close() for consumer in self._consumers))
        await asyncio.gather(*(inbox.close() for inbox in self._inboxes))
        await parts.publisher.close()
        await asyncio.gather(parts.publishing.close(), parts.consuming.close())
        self._parts = None

    async def declare(self, queues: Iterable[Queue]) -> None:
        """Make queues exist; see the protocol."""
        wanted = {queue.name: queue for queue in queues}
        made: set[str] = set()

        async def make() -> None:
            made.update(await self.declarer.declare(wanted.values()))
            await self._open.routes.restore([name for name in wanted if name in made])

        await self._within(make)
        self._queues.update(wanted)

    def publish(self, outgoing: Outgoing, *, timeout_s: float) -> Awaitable[None]:
        """Start to publish; see the protocol."""
        return self._open.publisher.publish(outgoing, timeout_s)

    async def consume(self, queue: str, *, prefetch: int, deliver: Callable[[Delivery], None]) -> AmqpConsumer:
        """Open a consumer; see the protocol."""
        consumer = AmqpConsumer(self, queue, prefetch=prefetch, deliver=deliver)
        await self._within(consumer.open)
        self._used.add(queue)
        self._consumers.append(consumer)
        return consumer

    async def open_inbox(self, receive: Callable[[Message], None]) -> AmqpInbox:
        """Open a reply queue of this process."""
        inbox = AmqpInbox(self, receive)
        await self._within(inbox.open)
        self._inboxes.append(inbox)
        return inbox

    @property
    def inspector(self) -> AmqpInspector:
        """Looking at queues."""
        return AmqpInspector(self)

    # What the parts need of each other.

    @property
    def lifeline(self) -> Lifeline:
        """The connection to consume on."""
        return self._open.consuming

    @property
    def declarer(self) -> Declarer:
        """Declares on whichever connection the broker listens to."""
        return self._open.declarer

    async def lifeline_to_look(self) -> Lifeline:
        """Return the connection for what neither publishes nor consumes: one that no alarm has stopped."""
        parts = self._open
        if parts.consuming.started or parts.publishing.blocked is not None:
            await parts.consuming.start()
            return parts.consuming
        return parts.publishing

    def publish_always(self, outgoing: Outgoing) -> asyncio.Future[None]:
        """Publish without a deadline."""
        return self._open.publisher.publish(outgoing, None)

    async def redeclare(self, queue: str) -> None:
        """Make a queue exist again as the program described it, and its delays find it; do so whether it seems to be
        there or not, since RabbitMQ shows a queue for a while that is being deleted.

        One that the program did not describe is not made.
        """
        known = self._queues.get(queue)
        if known is not None:
            await self.declarer.declare([known])
        await self._open.routes.restore([queue])

    def known_queues(self, names: Iterable[str]) -> set[str]:
        """The queues of ``names``, those that this process declared or used, and their dead-letter queues."""
        known = {*names, *self._queues, *self._used}
        return known | {dead_queue(name) for name in known if not name.endswith(DEAD_SUFFIX)}

    def emit(self, event: Event) -> None:
        """Tell whoever listens."""
        if self._emit is not None:
            self._emit(event)

    def dropped(self, outgoing: Outgoing) -> None:
        """Tell of a reply that had no queue."""
        self.emit(ReplyDropped(correlation_id=outgoing.message.correlation_id, reason="its queue is gone"))

    @asynccontextmanager
    async def cold_channel(self) -> AsyncGenerator[AbstractChannel]:
        """Open a channel of aio-pika's."""
        link = await (await self.lifeline_to_look()).link()
        async with link.cold_channel() as channel:
            yield channel

    @property
    def _open(self) -> _Parts:
        if self._parts is None:
            raise UsageError("the broker is not open, or not any more; use it inside 'async with'")
        return self._parts

    async def _within(self, work: Callable[[], Awaitable[T]], timeout_s: float = _TIMEOUT_S) -> T:
        """Do what can be repeated until it is done, also over a lost connection, or until its time is over."""
        error: BrokerUnreachable | None = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    try:
                        return await work()
                    except BrokerUnreachable as lost:
                        error = lost
                        await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            raise error or self._open.publishing.trouble() from None


class _Parts:
    """What exists only while the broker is open."""

    def __init__(self, broker: AmqpBroker, way: Way, clock: Clock) -> None:
        self.publishing = Lifeline(way, "publish", self._changed)
        self.consuming = Lifeline(way, "consume")
        self.declarer = Declarer(broker.cold_channel, label=broker.label)
        self.routes = DelayRoutes(self.declarer)
        self.publisher = Publisher(
            self.publishing, self.routes, clock=clock, label=broker.label, dropped=broker.dropped
        )

    def _changed(self) -> None:
        self.publisher.pump()
