"""Bare aio-pika: quorum or classic queue, persistent, confirmed, acknowledged by hand; no validation, no retries."""

import asyncio
import json
import os
import sys
import uuid
from contextlib import asynccontextmanager

import aio_pika
import producing
from tally import count

URL, QUEUE = os.environ["BENCH_AMQP"], "jobs"
KIND = {"x-queue-type": os.environ["BENCH_QUEUE_TYPE"]}
sending = {}


@asynccontextmanager
async def opened():
    connection = await aio_pika.connect(URL)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.declare_queue(QUEUE, durable=True, arguments=KIND)
        replies = await channel.declare_queue(exclusive=True)
        sending.update(exchange=channel.default_exchange, replies=replies.name, waiting={})
        await replies.consume(_answered, no_ack=True)
        yield


async def _answered(message):
    sending["waiting"].pop(message.correlation_id).set_result(json.loads(message.body))


def _message(number, **properties):
    body = json.dumps({"a": number, "b": 1}).encode()
    return aio_pika.Message(body, delivery_mode=2, content_type="application/json", **properties)


async def enqueue(number):
    await sending["exchange"].publish(_message(number), QUEUE)


async def call(number):
    correlation = uuid.uuid4().hex
    sending["waiting"][correlation] = answer = asyncio.get_running_loop().create_future()
    message = _message(number, correlation_id=correlation, reply_to=sending["replies"])
    await sending["exchange"].publish(message, QUEUE)
    return await answer


async def work():
    connection = await aio_pika.connect(URL)
    channel = await connection.channel(publisher_confirms=True)
    await channel.set_qos(prefetch_count=int(os.environ["BENCH_CONCURRENCY"]))
    queue = await channel.declare_queue(QUEUE, durable=True, arguments=KIND)

    async def run(message):
        job = json.loads(message.body)
        result = count(job["a"], job["b"])
        if message.reply_to:
            reply = aio_pika.Message(json.dumps(result).encode(), correlation_id=message.correlation_id)
            await channel.default_exchange.publish(reply, message.reply_to)
        await message.ack()

    await queue.consume(run)
    await asyncio.Future()


if __name__ == "__main__":
    if sys.argv[1] == "work":
        with asyncio.Runner(loop_factory=producing.loop_factory()) as runner:
            runner.run(work())
    else:
        producing.run(opened, enqueue=enqueue, call=call)
