"""taskiq with taskiq-aio-pika: quorum queue, confirmed, acknowledged when executed; results in Redis, where wanted."""

import os
from contextlib import asynccontextmanager

import producing
from tally import count
from taskiq_aio_pika import AioPikaBroker

broker = AioPikaBroker(os.environ["BENCH_AMQP"], qos=int(os.environ.get("BENCH_CONCURRENCY", "100")))
if os.environ.get("BENCH_RESULTS"):
    from taskiq_redis import RedisAsyncResultBackend

    broker = broker.with_result_backend(RedisAsyncResultBackend(os.environ["BENCH_REDIS"]))


@broker.task
async def add(a: int, b: int) -> int:
    return count(a, b)


@asynccontextmanager
async def opened():
    await broker.startup()
    yield
    await broker.shutdown()


async def call(number):
    task = await add.kiq(number, 1)
    return (await task.wait_result(check_interval=0.001, timeout=30)).return_value


if __name__ == "__main__":
    producing.run(opened, enqueue=lambda number: add.kiq(number, 1), call=call)
