"""streaQ: jobs in Redis streams; a job whose worker died comes back after the idle time."""

import logging
import os

import producing
from streaq import Worker
from tally import count

logging.disable(logging.INFO)  # its command has no option for it; some tell of each job

RESULTS_S = 300 if os.environ.get("BENCH_RESULTS") else 0
concurrency = int(os.environ.get("BENCH_CONCURRENCY", "100"))
worker = Worker(
    redis_url=os.environ["BENCH_REDIS"],
    concurrency=concurrency,
    anyio_kwargs={"use_uvloop": True},
)


@worker.task(ttl=RESULTS_S)
async def add(a: int, b: int) -> int:
    return count(a, b)


async def enqueue(number):
    await add.enqueue(number, 1)


async def bulk(numbers):
    for chunk in producing.chunks(numbers):
        await worker.enqueue_many([add.enqueue(number, 1) for number in chunk])


async def call(number):
    task = await add.enqueue(number, 1)
    return (await task.result(30)).result


if __name__ == "__main__":
    producing.run(lambda: worker, enqueue=enqueue, bulk=bulk, call=call)
