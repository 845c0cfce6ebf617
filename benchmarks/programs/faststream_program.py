"""FastStream on RabbitMQ: durable classic queue, persistent, confirmed, acknowledged after the handler."""

import os
import sys
from asyncio import Queue
from contextlib import AsyncExitStack, asynccontextmanager

import producing
from faststream import FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
from tally import count

URL = os.environ["BENCH_AMQP"]
CALLERS = 16  # `request` holds a lock: a broker has one call at a time, so there are some of them

queue = RabbitQueue("jobs", durable=True)
channel = Channel(prefetch_count=int(os.environ.get("BENCH_CONCURRENCY", "100")))
broker = RabbitBroker(URL, default_channel=channel, logger=None)
app = FastStream(broker, logger=None)
enqueueing = RabbitBroker(URL, logger=None)
idle: Queue[RabbitBroker] = Queue()


@broker.subscriber(queue)
async def add(a: int, b: int) -> int:
    return count(a, b)


@asynccontextmanager
async def opened():
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(enqueueing)
        for _ in range(CALLERS if sys.argv[1] == "call" else 0):
            idle.put_nowait(await stack.enter_async_context(RabbitBroker(URL, logger=None)))
        await enqueueing.declare_queue(queue)
        yield


async def enqueue(number):
    await enqueueing.publish({"a": number, "b": 1}, queue="jobs", persist=True)


async def call(number):
    sender = await idle.get()
    try:
        reply = await sender.request({"a": number, "b": 1}, queue="jobs", persist=True, timeout=30)
        return await reply.decode()
    finally:
        idle.put_nowait(sender)


if __name__ == "__main__":
    producing.run(opened, enqueue=enqueue, call=call)
