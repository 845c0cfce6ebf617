"""taskq with a payload of ``BENCH_PAYLOAD`` bytes on ``BENCH_QUEUES`` queues, in turn: how its cost grows."""

import os
from contextlib import asynccontextmanager

import producing
from tally import count

from taskq import Queue, TaskQ

TEXT = "x" * int(os.environ.get("BENCH_PAYLOAD", "0"))
AT_ONCE = (
    50_000  # `enqueue_many` keeps a job for each call: a million of them is memory of this process, not of the queue
)
app = TaskQ("bench")


def declared(queue: str):
    app.add_queue(Queue(queue))

    @app.task(name=f"add.{queue}", queue=queue)
    async def add(a: int, b: int, text: str) -> int:
        return count(a, b)

    return add


tasks = [declared(f"jobs{number}") for number in range(int(os.environ.get("BENCH_QUEUES", "1")))]


@asynccontextmanager
async def opened():
    async with app:
        yield


async def enqueue(number):
    await tasks[number % len(tasks)].enqueue(number, 1, TEXT)


async def bulk(numbers):
    for chunk in producing.chunks(numbers, AT_ONCE):
        await app.enqueue_many(tasks[number % len(tasks)].bind(number, 1, TEXT) for number in chunk)


if __name__ == "__main__":
    producing.run(opened, enqueue=enqueue, bulk=bulk)
