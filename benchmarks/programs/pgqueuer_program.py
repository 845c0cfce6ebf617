"""PgQueuer: jobs in PostgreSQL; it keeps no results."""

import json
import logging
import os
from contextlib import asynccontextmanager

import asyncpg
import producing
from pgqueuer import AsyncpgDriver, AsyncpgPoolDriver, PgQueuer
from pgqueuer.queries import Queries
from tally import count

logging.disable(logging.INFO)  # its command has no option for it; some tell of each job

URL = os.environ["BENCH_POSTGRES"]
sending = {}


def _body(number):
    return json.dumps({"a": number, "b": 1}).encode()


@asynccontextmanager
async def factory():
    connection = await asyncpg.connect(URL)
    pgq = PgQueuer(AsyncpgDriver(connection))

    @pgq.entrypoint("add")
    async def add(job):
        count(**json.loads(job.payload))

    yield pgq
    await connection.close()


@asynccontextmanager
async def opened():
    async with asyncpg.create_pool(URL, min_size=4, max_size=32) as pool:
        sending["queries"] = Queries(AsyncpgPoolDriver(pool))
        yield


async def enqueue(number):
    await sending["queries"].enqueue("add", _body(number))


async def bulk(numbers):
    for chunk in producing.chunks(numbers):
        await sending["queries"].enqueue(["add"] * len(chunk), [_body(number) for number in chunk], [0] * len(chunk))


if __name__ == "__main__":
    producing.run(opened, enqueue=enqueue, bulk=bulk)
