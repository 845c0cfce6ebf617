"""procrastinate: jobs in PostgreSQL; it keeps no results."""

import os

import producing
from procrastinate import App, PsycopgConnector
from tally import count

app = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_POSTGRES"], min_size=4, max_size=32))


@app.task(queue="jobs", name="add")
async def add(a, b):
    return count(a, b)


async def enqueue(number):
    await add.defer_async(a=number, b=1)


async def bulk(numbers):
    for chunk in producing.chunks(numbers):
        await add.batch_defer_async(*({"a": number, "b": 1} for number in chunk))


if __name__ == "__main__":
    producing.run(app.open_async, enqueue=enqueue, bulk=bulk)
