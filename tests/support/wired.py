"""An app on RabbitMQ without RabbitMQ: all of taskq, from the task to the bytes and back, over a scripted peer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self, cast

from taskq.app.connection import Backend
from taskq.broker.amqp.consumer import AmqpConsumer
from taskq.broker.amqp.inbox import AmqpInbox
from taskq.broker.amqp.surroundings import Surroundings
from taskq.broker.protocol import Broker, Delivery, Outgoing
from taskq.lifecycle import Event
from taskq.settings import Settings
from taskq.tasks.queues import Queue
from taskq.wire.message import Message
from tests.support.amqppeer import Peer
from tests.unit.broker.amqp.test_publisher import Kit


class WiredBroker:
    """Publisher, consumer and reply queue over one peer: on channel 1, and the others in the order of their opening."""

    label = "the peer"
    ack_timeout_s = None

    def __init__(self) -> None:
        self.kit = Kit()
        self.peer: Peer
        self._inboxes: list[AmqpInbox] = []

    @property
    def lifeline(self) -> Any:
        return self.kit.line

    async def __aenter__(self) -> Self:
        self.kit.publisher.start()
        self.peer = await self.kit.connected()
        return self

    async def __aexit__(self, *raised: object) -> None:
        for inbox in self._inboxes:
            await inbox.close()
        self.peer.break_off()
        await self.kit.publisher.close()

    async def declare(self, queues: Iterable[Queue], **further: Any) -> None: ...

    def publish(self, outgoing: Outgoing, *, timeout_s: float) -> asyncio.Future[None]:
        return self.kit.publisher.publish(outgoing, timeout_s)

    def publish_always(self, outgoing: Outgoing) -> asyncio.Future[None]:
        return self.kit.publisher.publish(outgoing, None)

    async def consume(self, queue: str, *, prefetch: int, deliver: Callable[[Delivery], None]) -> AmqpConsumer:
        consumer = AmqpConsumer(cast("Surroundings", self), queue, prefetch=prefetch, deliver=deliver)
        await consumer.open()
        return consumer

    async def open_inbox(self, receive: Callable[[Message], None]) -> AmqpInbox:
        inbox = AmqpInbox(cast("Surroundings", self), receive)
        self._inboxes.append(inbox)
        await inbox.open()
        return inbox

    def emit(self, event: Event) -> None: ...


@dataclass(frozen=True)
class WiredBackend(Backend):
    """Gives an app a wired broker."""

    broker: WiredBroker = field(default_factory=WiredBroker)

    def connect(self, settings: Settings, app: str, emitter: object) -> Broker:
        return cast("Broker", self.broker)
