"""The limit: what RabbitMQ takes and gives, with a hand-packed client (`wire`) and nothing around it.

No validation, no headers, no futures for each message; answers are sent without confirms, to a queue that is not
durable. Each job has an asyncio task of its own, as anything has that runs coroutines. Nothing that keeps taskq's
promises can be faster than this.
"""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager

import producing
from tally import count
from wire import Publishing, Wire

QUEUE = b"bare"
URL = os.environ["BENCH_AMQP"]
KIND = os.environ["BENCH_QUEUE_TYPE"].encode()
BULK_WINDOW = 10_000
BATCH = 250


async def publish(window: int, numbers: producing.Numbers) -> None:
    """Publish with up to ``window`` unconfirmed, until there are no more numbers and all is confirmed."""
    wire = await Wire.open(URL)
    await wire.confirm()
    await wire.declare(QUEUE, KIND)
    to_queue = Publishing(QUEUE)
    in_flight, ended = 0, asyncio.get_running_loop().create_future()

    def pump() -> None:
        nonlocal in_flight
        due = []
        for number in numbers if in_flight < window else ():
            due.append(to_queue.message(b'{"a": %d, "b": 1}' % number))
            in_flight += 1
            if in_flight >= window or len(due) >= BATCH:
                break
        if due:
            wire.write(b"".join(due))
            asyncio.get_running_loop().call_soon(pump)
        elif not in_flight and not ended.done():
            ended.set_result(None)

    def confirmed(number: int) -> None:
        nonlocal in_flight
        in_flight -= number
        pump()

    wire.on_confirm = confirmed
    pump()
    await ended
    wire.close()


async def work(prefetch: int) -> None:
    """Execute each job in a task of its own, and acknowledge at once what ended together; answer calls."""
    wire = await Wire.open(URL)
    await wire.declare(QUEUE, KIND)
    await wire.prefetch(prefetch)
    last, due, ways, running = 0, [], {}, set()
    loop = asyncio.get_running_loop()

    async def run(tag: int, properties: bytes, body: bytes) -> None:
        nonlocal last
        job = json.loads(body)
        result = count(job["a"], job["b"])
        if not last:
            loop.call_soon(turn)
        last = tag
        if len(properties) > 18:  # after content type and mode: the correlation id, and where the answer goes
            end = 19 + properties[18]
            reply_to = properties[end + 1 : end + 1 + properties[end]]
            way = ways.get(reply_to) or ways.setdefault(reply_to, Publishing(reply_to, persistent=False))
            due.append(way.message(b"%d" % result, properties[19:end]))

    def turn() -> None:
        nonlocal last
        due.append(wire.ack(last, multiple=True))
        wire.write(b"".join(due))
        due.clear()
        last = 0

    def receive(tag: int, properties: bytes, body: bytes) -> None:
        task = loop.create_task(run(tag, properties, body))
        running.add(task)
        task.add_done_callback(running.discard)

    wire.on_delivery = receive
    await wire.consume(QUEUE)
    await loop.create_future()


class Caller:
    """Calls, and the answers that they wait for."""

    async def open(self) -> None:
        self._wire = await Wire.open(URL)
        await self._wire.confirm()
        self._replies = b"replies-%d" % os.getpid()
        await self._wire.declare(QUEUE, KIND)
        await self._wire.declare_own(self._replies)
        self._to_queue, self._waiting, self._next, self._due = Publishing(QUEUE), {}, 0, []
        self._wire.on_delivery = self._receive
        await self._wire.consume(self._replies, no_ack=True)

    async def call(self, number: int) -> int:
        self._next += 1
        correlation = b"%d" % self._next
        self._waiting[correlation] = answer = asyncio.get_running_loop().create_future()
        if not self._due:
            asyncio.get_running_loop().call_soon(self._flush)
        self._due.append(self._to_queue.message(b'{"a": %d, "b": 1}' % number, correlation, self._replies))
        return await answer

    def _flush(self) -> None:
        self._wire.write(b"".join(self._due))
        self._due.clear()

    def _receive(self, tag: int, properties: bytes, body: bytes) -> None:
        self._waiting.pop(properties[19 : 19 + properties[18]]).set_result(int(body))


def produce(what: str, window: int) -> None:
    caller = Caller()

    @asynccontextmanager
    async def opened():
        if what == "call":
            await caller.open()
        yield

    producing.run(opened, bulk=lambda numbers: publish(window, numbers), call=caller.call)


if __name__ == "__main__":
    if sys.argv[1] == "work":
        with asyncio.Runner(loop_factory=producing.loop_factory()) as runner:
            runner.run(work(int(os.environ["BENCH_CONCURRENCY"])))
    else:
        produce(sys.argv[1], BULK_WINDOW if sys.argv[1] == "bulk" else json.loads(sys.argv[2])["in_flight"])
