"""Time in the test's hands."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq import Context, Exponential, Fixed, JobExpired, RetryPolicy, Snooze, TaskQ
from taskq.testing import Harness, MovableClock
from tests.support.waiting import until

# Time.


async def test_retries_run_at_their_own_instants_and_an_hour_passes_in_no_time() -> None:
    app, starts = TaskQ[Any]("test"), list[float]()
    policy = RetryPolicy(attempts=6, backoff=Exponential(100, factor=2, jitter=False, cap=10_000))

    @app.task(retry=policy)
    async def fails() -> None:
        starts.append(clock.now() - began)
        raise ValueError

    began_real = time.monotonic()
    async with Harness(app) as h:
        clock, began = h.clock, h.clock.now()
        await fails.enqueue()
        await h.drain()
        assert h.dead == []
        await h.advance(3600)
        assert starts == [0, 100, 300, 700, 1500, 3100]
        assert h.clock.now() == began + 3600
        assert [letter.attempt for letter in h.dead] == [6]
    assert time.monotonic() - began_real < 10


async def test_delays_and_instants_of_callers_pass_only_with_advance() -> None:
    app, ran = TaskQ[Any]("test"), list[str]()

    @app.task
    async def work(name: str) -> None:
        ran.append(name)

    async with Harness(app) as h:
        await work.with_options(delay=timedelta(minutes=5)).enqueue("delayed")
        await work.with_options(at=datetime.fromtimestamp(h.clock.now() + 60, UTC)).enqueue("at")
        await work.enqueue("now")
        await h.drain()
        assert ran == ["now"]
        await h.advance(timedelta(seconds=59.9))
        assert ran == ["now"]
        await h.advance(0.1)
        assert ran == ["now", "at"]
        await h.advance(timedelta(hours=1))
        assert ran == ["now", "at", "delayed"]


async def test_chain_of_snoozes_passes_step_by_step() -> None:
    app, steps = TaskQ[Any]("test"), list[float]()

    @app.task(context=True)
    async def poll(ctx: Context[Any]) -> None:
        steps.append(ctx.execution)
        if ctx.execution < 100:
            raise Snooze(36)

    async with Harness(app) as h:
        await poll.enqueue()
        await h.advance(3600)
        assert steps == list(range(1, 101))


async def test_job_that_waits_while_time_passes_keeps_its_delivery() -> None:
    app = TaskQ[Any]("test")
    go_on, begun = asyncio.Event(), list[int]()

    @app.task
    async def slow() -> int:
        begun.append(1)
        await go_on.wait()
        return 1

    async with Harness(app) as h:
        job = await slow.submit()
        await until(lambda: begun)
        h.clock.advance(36_000)
        go_on.set()
        assert await job.result() == 1
        await h.drain()
        assert begun == [1]


async def test_expiry_passes_with_the_clock() -> None:
    app: TaskQ[Any] = TaskQ("test")

    @app.task(retry=RetryPolicy(attempts=3, backoff=Fixed(1)))
    async def fails() -> None:
        raise ValueError

    @app.task
    async def work() -> None: ...

    async with Harness(app) as h:
        late = await work.with_options(delay=10, expires=20).submit()
        h.clock.advance(20)
        with pytest.raises(JobExpired):
            await late.result()


def test_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        MovableClock().advance(-1)


async def test_sleepers_wake_in_the_order_of_their_instants() -> None:
    clock, woken = MovableClock(), list[float]()

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    sleepers = [asyncio.create_task(sleeper(s)) for s in (30, 10, 0, 20)]
    await asyncio.sleep(0)
    clock.advance(15)
    for _ in range(3):
        await asyncio.sleep(0)
    assert woken == [0, 10]
    clock.advance(15)
    await asyncio.gather(*sleepers)
    assert woken == [0, 10, 20, 30]
