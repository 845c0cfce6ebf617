"""The RabbitMQ broker: it puts the parts together, opens them and closes them in order.

Two connections, since an alarm stops the reading of the one that publishes: confirms and acks must not share it. The
first is opened on entering, the other when something is consumed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Self

from taskq.broker.amqp.consumer import AmqpConsumer
from taskq.broker.amqp.declared import Declared
from taskq.broker.amqp.declaring import Declarer
from taskq.broker.amqp.delays import DelayRoutes
from taskq.broker.amqp.endpoint import endpoints
from taskq.broker.amqp.inbox import AmqpInbox
from taskq.broker.amqp.lifeline import Lifeline, Way
from taskq.broker.amqp.location import read_location
from taskq.broker.amqp.patience import Patience, Progress
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.publisher import Publisher
from taskq.broker.amqp.restorer import Restorer
from taskq.broker.amqp.subscription import AmqpSubscription
from taskq.broker.home import Home
from taskq.broker.names import dead_queue
from taskq.broker.protocol import Delivery, Outgoing
from taskq.clock import Clock
from taskq.errors import BrokerError, BrokerUnreachable, UsageError
from taskq.lifecycle import Event, ReplyDropped
from taskq.tasks.exchanges import Binding, ExchangeDefinition, TemporaryQueue
from taskq.tasks.queues import DEAD_SUFFIX, Queue
from taskq.wire.message import Message

if TYPE_CHECKING:
    from taskq.broker.amqp.inspector import AmqpInspector
    from taskq.broker.amqp.management import Management


class AmqpBroker:
    """Implements :class:`taskq.broker.protocol.Broker` on RabbitMQ 3.10 to 4.x.

    ``url``: ``amqp://user:password@host:5672,other/vhost``, or ``amqps://…`` with TLS. ``heartbeat_s``: a silent
    connection is given up within twice that. ``ack_timeout_s``: how long the broker leaves a delivery with a consumer.
    ``management_url``: where its management API is; empty: on its hosts. ``emit`` is called on the loop.
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
        management_url: str = "",
        rng: Random | None = None,
    ) -> None:
        self._location = read_location(url)
        endpoints(self._location, management_url)  # a URL that is none is refused here
        self._management_url = management_url
        self._clock = clock
        self._emit = emit
        self._app_name = app_name
        self._connect_timeout_s = connect_timeout_s
        self._heartbeat_s = heartbeat_s
        self.ack_timeout_s: float | None = ack_timeout_s
        self._rng = rng or Random()
        self.declared = Declared()
        self._used: set[str] = set()
        self._consumers: list[AmqpConsumer | AmqpSubscription] = []
        self._inboxes: list[AmqpInbox] = []
        self._parts: _Parts | None = None
        self.patience = Patience(self)
        self.closed = False

    @property
    def label(self) -> str:
        """Its URL, password redacted."""
        return self._location.label

    async def __aenter__(self) -> Self:
        if self._parts is not None or self.closed:
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
            parts.publishing.abort()
            self.closed, self._parts = True, None
            raise
        parts.publisher.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.closed:
            return
        self.closed = True
        parts = self._open
        try:
            await self._close(parts)
        except BaseException:  # a cancellation, most likely: without the connections nothing is left to wait for
            parts.publishing.abort()
            parts.consuming.abort()
            await self._close(parts)
            raise
        finally:
            self._parts = None

    async def declare(
        self,
        queues: Iterable[Queue],
        *,
        exchanges: Iterable[ExchangeDefinition] = (),
        bindings: Iterable[Binding] = (),
    ) -> None:
        """Make queues, exchanges and bindings exist; see the protocol."""
        wanted = Declared()
        wanted.add(queues, exchanges, bindings)
        made: set[str] = set()

        async def make(progress: Progress) -> None:
            all_of_it = (wanted.queues.values(), wanted.exchanges.values(), wanted.bindings)
            made.update(await self.declarer.declare(*all_of_it, progress=progress))
            await self._open.routes.restore([name for name in wanted.queues if name in made])

        await self.patience.through(make)
        self.declared.add(wanted.queues.values(), wanted.exchanges.values(), wanted.bindings)

    async def unbind(self, binding: Binding) -> None:
        """Make a binding not exist."""
        self.declared.forget(binding)
        await self.patience.through(lambda _: self.declarer.unbind(binding))

    def publish(self, outgoing: Outgoing, *, timeout_s: float) -> asyncio.Future[None]:
        """Start to publish; see the protocol."""
        return self._open.publisher.publish(outgoing, timeout_s)

    async def consume(self, queue: str, *, prefetch: int, deliver: Callable[[Delivery], None]) -> AmqpConsumer:
        """Open a consumer; see the protocol."""
        consumer = AmqpConsumer(self, queue, prefetch=prefetch, deliver=deliver)
        await self._opened(consumer)
        self._used.add(queue)
        return consumer

    async def subscribe(
        self, queue: TemporaryQueue, *, prefetch: int, deliver: Callable[[Delivery], None]
    ) -> AmqpSubscription:
        """Make a temporary queue and consume it; see the protocol."""
        subscription = AmqpSubscription(self, queue, prefetch=prefetch, deliver=deliver)
        await self._opened(subscription)
        return subscription

    async def open_inbox(self, receive: Callable[[Message], None]) -> AmqpInbox:
        """Open a reply queue of this process."""
        inbox = AmqpInbox(self, receive)
        self._inboxes.append(inbox)  # before it is open, so that a close takes it down whatever became of it
        try:
            await self.patience.through(lambda _: inbox.open())
        except BrokerError:
            if not self.closed:
                await inbox.close()
                self._inboxes.remove(inbox)
            raise
        return inbox

    @property
    def inspector(self) -> AmqpInspector:
        """Looking at queues."""
        from taskq.broker.amqp.inspector import AmqpInspector  # noqa: PLC0415  # no job waits for it: decision 022

        return AmqpInspector(self)

    # What the parts need of each other.

    @property
    def management(self) -> Management:
        """Its management API."""
        from taskq.broker.amqp.management import Management  # noqa: PLC0415  # no job waits for it: decision 022

        return Management(self._location, self._management_url)

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
        """Make a queue exist again as the program described it."""
        await self._open.restorer.queue(queue)

    def known_queues(self, names: Iterable[str]) -> set[str]:
        """The queues of ``names``, those that this process declared or used, and their dead-letter queues."""
        known = {*names, *self.declared.queues, *self._used}
        return known | {dead_queue(name) for name in known if not name.endswith(DEAD_SUFFIX)}

    def emit(self, event: Event) -> None:
        """Tell whoever listens."""
        if self._emit is not None:
            self._emit(event)

    def dropped(self, outgoing: Outgoing) -> None:
        """Tell of a reply that had no queue."""
        self.emit(ReplyDropped(correlation_id=outgoing.message.correlation_id, reason="its queue is gone"))

    async def open_channel(self) -> HotChannel:
        """Open a channel to declare and to look. Raises :class:`ChannelGone`."""
        return await (await (await self.lifeline_to_look()).link()).hot_channel()

    @property
    def lifelines(self) -> tuple[Lifeline, ...]:
        """The connections that were opened, the one that looks and declares first."""
        parts = self._open
        return (parts.consuming, parts.publishing) if parts.consuming.started else (parts.publishing,)

    @property
    def _open(self) -> _Parts:
        if self._parts is None:
            raise UsageError("the broker is not open, or not any more; use it inside 'async with'")
        self._parts.home.check()
        return self._parts

    async def _opened(self, consumer: AmqpConsumer | AmqpSubscription) -> None:
        await self.patience.through(lambda _: consumer.open())
        if self.closed:
            await consumer.close()
            raise BrokerUnreachable(f"{self.label} was closed by this program")
        # Those that were closed since are let go here: a program may listen again and again.
        self._consumers = [*(each for each in self._consumers if not each.closed), consumer]

    async def _close(self, parts: _Parts) -> None:
        await asyncio.gather(*(consumer.close() for consumer in self._consumers))
        await asyncio.gather(*(inbox.close() for inbox in self._inboxes))
        await parts.publisher.close()
        await asyncio.gather(parts.publishing.close(), parts.consuming.close())


class _Parts:
    """What exists only while the broker is open."""

    def __init__(self, broker: AmqpBroker, way: Way, clock: Clock) -> None:
        self.home = Home()
        self.publishing = Lifeline(way, "publish", self._changed)
        self.consuming = Lifeline(way, "consume")
        self.declarer = Declarer(broker.open_channel, label=broker.label)
        self.routes = DelayRoutes(self.declarer)
        self.restorer = Restorer(broker.declared, self.declarer, self.routes)
        self.publisher = Publisher(
            self.publishing, self.routes, self.restorer, clock=clock, label=broker.label, dropped=broker.dropped
        )

    def _changed(self) -> None:
        self.publisher.pump()
