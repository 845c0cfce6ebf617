"""What taskq is built on, by itself: ``python -m benchmarks.bare aio-pika|plane WHAT URL JOBS`` prints its rate.

The same guarantees, and nothing else: no validation, no headers but two, no time limit, no retry.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage
from pamqp import commands

from taskq.broker.amqp.link import Link
from taskq.broker.amqp.plane.commands import consume
from taskq.broker.amqp.plane.events import Delivered, Event

QUEUE = "bench"
QUORUM = {"x-queue-type": "quorum"}
BODY = b'{"a": 1, "b": 2}'


async def enqueue(channel: aio_pika.abc.AbstractChannel, jobs: int) -> float:
    """Publish from 1,000 tasks at once, each waiting for its confirm."""
    left = iter(range(jobs))

    async def producer() -> None:
        for _ in left:
            await channel.default_exchange.publish(_message(), QUEUE)

    began = time.perf_counter()
    await asyncio.gather(*(producer() for _ in range(1000)))
    return jobs / (time.perf_counter() - began)


async def drain(channel: aio_pika.abc.AbstractChannel, queue: aio_pika.abc.AbstractQueue, jobs: int) -> float:
    """Decode, add and acknowledge what waits in the queue."""
    await enqueue(channel, jobs)
    await channel.set_qos(prefetch_count=1000)
    done = asyncio.Event()
    arrived = 0

    async def run(message: AbstractIncomingMessage) -> None:
        nonlocal arrived
        arguments = json.loads(message.body)
        assert arguments["a"] + arguments["b"] == 3
        await message.ack()
        arrived += 1
        if arrived == jobs:
            done.set()

    began = time.perf_counter()
    await queue.consume(run)
    await done.wait()
    return jobs / (time.perf_counter() - began)


async def call(connection: aio_pika.Connection, queue: aio_pika.abc.AbstractQueue, jobs: int) -> float:
    """Call from 100 tasks at once, with the server in this process, as aio-pika's own RPC example does it."""
    serving, calling = await connection.channel(), await connection.channel()
    await serving.set_qos(prefetch_count=100)
    replies = await calling.declare_queue(exclusive=True)
    waiting: dict[str, asyncio.Future[bytes]] = {}

    async def serve(message: AbstractIncomingMessage) -> None:
        arguments = json.loads(message.body)
        body = json.dumps(arguments["a"] + arguments["b"]).encode()
        assert message.reply_to is not None
        reply = aio_pika.Message(body, correlation_id=message.correlation_id, delivery_mode=2)
        await serving.default_exchange.publish(reply, message.reply_to)
        await message.ack()

    async def receive(message: AbstractIncomingMessage) -> None:
        await message.ack()
        waiting.pop(message.correlation_id or "").set_result(message.body)

    await (await serving.declare_queue(QUEUE, passive=True)).consume(serve)
    await replies.consume(receive)
    left = iter(range(jobs))

    async def caller() -> None:
        for _ in left:
            message = _message(replies.name)
            waiting[message.correlation_id or ""] = answer = asyncio.get_running_loop().create_future()
            await calling.default_exchange.publish(message, QUEUE)
            assert json.loads(await answer) == 3

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(100)))
    return jobs / (time.perf_counter() - began)


async def plane_drain_one(url: str, channel: aio_pika.abc.AbstractChannel, jobs: int) -> float:
    """Take one delivery, acknowledge it, take the next: the data plane's own loop."""
    await enqueue(channel, jobs)
    link = await Link.open(url, label="bench", name="bench", heartbeat_s=15, timeout_s=10)
    done = asyncio.Event()
    arrived = 0

    def receive(event: Event) -> None:
        nonlocal arrived
        if isinstance(event, Delivered):
            json.loads(event.body)
            hot.ack(event.tag)
            arrived += 1
            if arrived == jobs:
                done.set()

    hot = await link.hot_channel(receive)
    await hot.call(commands.Basic.Qos(prefetch_count=1))
    began = time.perf_counter()
    await hot.call(consume(QUEUE, "bench"))
    await done.wait()
    rate = jobs / (time.perf_counter() - began)
    await link.close()
    return rate


def _message(reply_to: str | None = None) -> aio_pika.Message:
    return aio_pika.Message(
        BODY,
        delivery_mode=2,
        content_type="application/json",
        type="add",
        message_id=uuid.uuid4().hex,
        correlation_id=uuid.uuid4().hex,
        reply_to=reply_to,
        headers={"version": 1, "attempt": 1},
    )


async def main() -> None:
    _, _, what, url, count = sys.argv
    jobs = int(count)
    connection = await aio_pika.connect(url)
    assert isinstance(connection, aio_pika.Connection)
    channel = await connection.channel(publisher_confirms=True)
    queue = await channel.declare_queue(QUEUE, durable=True, arguments=QUORUM)
    measured: dict[str, Callable[[], Awaitable[float]]] = {
        "enqueue": lambda: enqueue(channel, jobs),
        "drain": lambda: drain(channel, queue, jobs),
        "drain-1": lambda: plane_drain_one(url, channel, jobs // 6),
        "call": lambda: call(connection, queue, jobs // 6),
    }
    rate = await measured[what]()
    print(json.dumps({"rate": rate}))
    await connection.close()


if __name__ == "__main__":
    uvloop.run(main())
