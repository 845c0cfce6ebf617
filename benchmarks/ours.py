"""taskq: ``python -m benchmarks.ours taskq WHAT URL JOBS`` prints its rate."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from contextlib import suppress

import uvloop

from taskq import TaskQ
from taskq.worker.worker import Worker

app = TaskQ("bench")
_arrived = 0
_wanted = 0
_done = asyncio.Event()


@app.task
async def add(a: int, b: int) -> int:
    """Do next to nothing."""
    global _arrived  # noqa: PLW0603  # the state of one measurement
    _arrived += 1
    if _arrived == _wanted:
        _done.set()
    return a + b


async def enqueue(jobs: int) -> float:
    """Enqueue from 1,000 tasks at once."""
    left = iter(range(jobs))

    async def producer() -> None:
        for number in left:
            await add.enqueue(number, 1)

    began = time.perf_counter()
    await asyncio.gather(*(producer() for _ in range(1000)))
    return jobs / (time.perf_counter() - began)


async def drain(jobs: int, concurrency: int) -> float:
    """Run jobs that wait in the queue: validation, execution, ack."""
    global _wanted  # noqa: PLW0603
    _wanted = jobs
    await enqueue(jobs)
    worker = app.worker(concurrency=concurrency)
    running = asyncio.create_task(worker.run())
    began = time.perf_counter()
    await _done.wait()
    rate = jobs / (time.perf_counter() - began)
    await _ended(worker, running)
    return rate


async def call(jobs: int) -> float:
    """Call from 100 tasks at once, with the worker in this process."""
    worker = app.worker(concurrency=100)
    running = asyncio.create_task(worker.run())
    await worker.started.wait()
    left = iter(range(jobs))

    async def caller() -> None:
        for number in left:
            assert await add.call(number, 1) == number + 1

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(100)))
    rate = jobs / (time.perf_counter() - began)
    await _ended(worker, running)
    return rate


async def _ended(worker: Worker, running: asyncio.Task[object]) -> None:
    worker.stop("measured")
    with suppress(asyncio.CancelledError):
        await running


async def main() -> None:
    _, _, what, url, count = sys.argv
    jobs = int(count)
    os.environ["TASKQ_URL"] = url
    async with app:
        match what:
            case "enqueue":
                rate = await enqueue(jobs)
            case "drain":
                rate = await drain(jobs, 1000)
            case "drain-1":
                rate = await drain(jobs // 6, 1)
            case _:
                rate = await call(jobs // 6)
    print(json.dumps({"rate": rate}))


if __name__ == "__main__":
    logging.disable()
    uvloop.run(main())
