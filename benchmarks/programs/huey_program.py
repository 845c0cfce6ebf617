"""Huey on SQLite (`fsync`) or Redis, with threads. It takes a job out of the queue before it runs it."""

import os

import producing
from huey import RedisHuey, SqliteHuey
from tally import count

results = bool(os.environ.get("BENCH_RESULTS"))
if "BENCH_SQLITE" in os.environ:
    huey = SqliteHuey("bench", filename=os.environ["BENCH_SQLITE"], fsync=True, timeout=30, results=results)
else:
    huey = RedisHuey("bench", url=os.environ["BENCH_REDIS"], results=results, notify_result=True)


@huey.task()
def add(a, b):
    return count(a, b)


if __name__ == "__main__":
    from huey_program import add  # under the name that the consumer knows it by

    producing.run_threads(
        enqueue=lambda number: add(number, 1),
        call=lambda number: add(number, 1).get(blocking=True, timeout=30, backoff=1.05, max_delay=0.002),
        threads=int(os.environ["BENCH_PRODUCERS"]),
    )
