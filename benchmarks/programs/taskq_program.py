"""taskq, as its documentation shows it; the broker is `TASKQ_URL`."""

import os
from contextlib import asynccontextmanager

import producing
from tally import count

from taskq import Queue, TaskQ

app = TaskQ("bench")
app.add_queue(Queue("jobs", type=os.environ.get("BENCH_QUEUE_TYPE", "quorum")))


@app.task(queue="jobs")
async def add(a: int, b: int) -> int:
    return count(a, b)


@asynccontextmanager
async def opened():
    async with app:
        yield


async def bulk(numbers):
    await app.enqueue_many(add.bind(number, 1) for number in numbers)


if __name__ == "__main__":
    producing.run(
        opened, enqueue=lambda number: add.enqueue(number, 1), bulk=bulk, call=lambda number: add.call(number, 1)
    )
