"""SAQ: jobs in Redis; a job whose worker died comes back by a sweep."""

import os
from contextlib import asynccontextmanager

import producing
import uvloop
from saq import Queue
from tally import count

uvloop.install()  # its runner has no option for it
TTL_S = 300 if os.environ.get("BENCH_RESULTS") else -1  # a negative one: gone when it has ended

# `retries`: its sweep at the start takes a job for dead that another task of the worker has just taken out.
queue = Queue.from_url(os.environ["BENCH_REDIS"], max_concurrent_ops=100)


async def add(ctx, *, a, b):
    return count(a, b)


settings = {"queue": queue, "functions": [add], "concurrency": int(os.environ.get("BENCH_CONCURRENCY", "100"))}


@asynccontextmanager
async def opened():
    await queue.connect()
    yield
    await queue.disconnect()


if __name__ == "__main__":
    producing.run(
        opened,
        enqueue=lambda number: queue.enqueue("add", a=number, b=1, ttl=TTL_S),
        call=lambda number: queue.apply("add", a=number, b=1, ttl=TTL_S, timeout=30, retries=5, poll_interval=0.001),
    )
