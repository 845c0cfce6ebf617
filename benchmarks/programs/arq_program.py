"""arq: jobs in Redis, which it polls; a job whose worker died comes back when its time limit is over."""

import logging
import os
from contextlib import asynccontextmanager

import producing
import uvloop
from arq import create_pool, func
from arq.connections import RedisSettings
from tally import count

logging.disable(logging.INFO)  # its command has no option for it; some tell of each job

uvloop.install()  # its runner has no option for it
POLL_S = 0.002
redis = RedisSettings.from_dsn(os.environ["BENCH_REDIS"])
keep_s = 300 if os.environ.get("BENCH_RESULTS") else 0
pool = {}


async def add(ctx, a, b):
    return count(a, b)


class WorkerSettings:
    functions = (func(add, keep_result=keep_s),)
    redis_settings = redis
    max_jobs = int(os.environ.get("BENCH_CONCURRENCY", "100"))
    poll_delay = POLL_S
    log_results = False


@asynccontextmanager
async def opened():
    pool["redis"] = await create_pool(redis)
    yield
    await pool["redis"].aclose()


async def call(number):
    job = await pool["redis"].enqueue_job("add", number, 1)
    return await job.result(timeout=30, poll_delay=POLL_S)


if __name__ == "__main__":
    producing.run(opened, enqueue=lambda number: pool["redis"].enqueue_job("add", number, 1), call=call)
