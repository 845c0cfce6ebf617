"""What an administrator does to the virtual host of a run by AMQP, on connections of its own, past all proxies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from taskq.broker.amqp.ladder import LEVELS, OUT, UNROUTABLE, way_out
from taskq.broker.amqp.topology import queue_specs
from taskq.tasks.queues import Queue

_DEATHS = ("x-death", "x-first-death-", "x-last-death-")


class Administrator:
    """``url``: the broker's, with every permission."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def shut_off(self, queue: str) -> None:
        """Let no delayed job come to a queue; what comes out of the ladder for it waits in ``taskq.unroutable``."""
        way = way_out(queue)
        async with self._channel() as channel:
            found = await channel.get_queue(queue, ensure=False)
            await found.unbind(OUT, way.key)

    async def delete_queue(self, queue: str) -> None:
        """Delete a queue with what it holds."""
        async with self._channel() as channel:
            await channel.queue_delete(queue)

    async def make_queue(self, queue: str) -> None:
        """Make a queue as taskq does, without any binding."""
        spec = next(spec for spec in queue_specs(Queue(queue)) if spec.name == queue)
        async with self._channel() as channel:
            await channel.declare_queue(queue, durable=True, arguments=dict(spec.arguments))

    async def delete_exchange(self, exchange: str) -> None:
        """Delete an exchange with its bindings."""
        async with self._channel() as channel:
            await channel.exchange_delete(exchange)

    async def move_unroutable(self) -> int:
        """Send each job that came out of the ladder for a queue that was gone to that queue; return how many."""
        moved = 0
        async with self._channel() as channel:
            stranded = await channel.get_queue(UNROUTABLE, ensure=False)
            while (message := await stranded.get(fail=False)) is not None:
                await channel.default_exchange.publish(_copy(message), _queue_of(message), mandatory=True)
                await message.ack()
                moved += 1
        return moved

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractChannel]:
        async with await aio_pika.connect(self._url) as connection:
            yield await connection.channel(publisher_confirms=True, on_return_raises=True)


def _queue_of(message: AbstractIncomingMessage) -> str:
    """Return where it was to go: its key is the bits of its delay, and the queue."""
    return (message.routing_key or "").split(".", LEVELS)[LEVELS]


def _copy(message: AbstractIncomingMessage) -> aio_pika.Message:
    """Return the same message as before its delay."""
    headers = {name: value for name, value in message.headers.items() if not name.startswith(_DEATHS)}
    return aio_pika.Message(
        message.body,
        headers=headers,
        content_type=message.content_type,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        priority=message.priority,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        message_id=message.message_id,
        timestamp=message.timestamp,
        type=message.type,
        app_id=message.app_id,
    )
