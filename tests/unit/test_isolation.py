"""A job that came back too often runs alone: over the broker in memory."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from taskq import Context, Exponential, RetryPolicy
from taskq.lifecycle import (
    ExecutionEnded,
    IsolationEnded,
    JobDead,
    JobGivenBack,
    JobHandedBack,
    JobIsolated,
    WorkerStopping,
)
from taskq.worker.isolation import suspected_from
from taskq.worker.worker import Worker, WorkerReport
from tests.support.crowd import Crowd
from tests.support.shop import working
from tests.support.waiting import until


@pytest.mark.parametrize(("limit", "deaths"), [(20, 2), (5, 2), (3, 2), (2, 1), (1, 1)])
def test_a_job_is_suspected_early_enough_to_run_once_more_before_the_limit(limit: int, deaths: int) -> None:
    assert suspected_from(limit) == deaths
    assert limit == 1 or deaths < limit


@asynccontextmanager
async def crowd(delivery_limit: int = 20) -> AsyncIterator[Crowd]:
    shop = Crowd(delivery_limit)
    async with shop.app:
        yield shop


@asynccontextmanager
async def five_at_once(shop: Crowd, **options: Any) -> AsyncIterator[tuple[Worker, "asyncio.Task[WorkerReport]"]]:
    """Run a worker with five slots; it is to end well inside the block, or with it."""
    worker = shop.app.worker(**{"concurrency": 5, "grace": 30.0} | options)
    async with working(worker) as running:
        yield worker, running
        worker.stop("the test is over")
        async with asyncio.timeout(20):
            await running


# Alone.


async def test_a_suspect_waits_until_its_neighbours_have_ended_and_runs_alone() -> None:
    async with crowd() as shop:
        await shop.suspects("suspect")
        await shop.first("one", "two")
        async with five_at_once(shop):
            await until(lambda: shop.told(JobIsolated))
            await shop.stay.enqueue("later")
            assert set(shop.inside) == {"one", "two"}
            shop.open("one")
            await until(lambda: shop.inside == ["two"])
            shop.open("two")
            await until(lambda: shop.inside == ["suspect"])
            assert (await shop.states())["default"] == (1, 1), "what comes meanwhile waits in the queue"
            shop.open("suspect", "later")
            await until(lambda: len(shop.ended) == 4)
        assert shop.beside == {"one": {"two"}, "two": {"one"}, "suspect": set(), "later": set()}
        (told,) = shop.told(JobIsolated)
        assert (told.deaths, told.running, told.queue, told.task) == (2, 2, "default", shop.stay.name)
        assert shop.executions["suspect"] == [3]
        assert shop.told(IsolationEnded) == []


async def test_suspects_run_one_after_the_other_and_then_all_go_on() -> None:
    async with crowd() as shop:
        await shop.suspects(*"abcdefgh")
        for name in ("later", "and later"):
            await shop.stay.enqueue(name)
        async with five_at_once(shop):
            for number, name in enumerate("abcdefgh", start=1):
                await until(lambda name=name: shop.inside == [name])
                shop.open(name)
                await until(lambda number=number: len(shop.ended) == number)
            await until(lambda: len(shop.inside) == 2)
            shop.open("later", "and later")
            await until(lambda: len(shop.ended) == 10)
        assert [shop.beside[name] for name in "abcdefgh"] == [set()] * 8
        assert [told.deaths for told in shop.told(JobIsolated)] == [2] * 8


async def test_a_suspect_is_alone_in_the_process_and_not_only_in_its_queue() -> None:
    shop = Crowd()

    @shop.app.task(queue="other")
    async def elsewhere() -> None:
        shop.enter("elsewhere")
        await shop.go_on.wait()
        shop.inside.remove("elsewhere")

    async with shop.app:
        await shop.suspects("suspect")
        async with five_at_once(shop):
            await until(lambda: shop.inside == ["suspect"])
            await elsewhere.enqueue()
            assert (await shop.states())["other"] == (1, 0)
            shop.open("suspect")
            await until(lambda: shop.inside == ["elsewhere"])
            shop.go_on.set()
        assert shop.beside["suspect"] == set()


async def test_a_job_that_came_back_once_runs_beside_others() -> None:
    async with crowd() as shop:
        await shop.suspects("one", "two", deaths=1)
        async with five_at_once(shop):
            await until(lambda: len(shop.inside) == 2)
            shop.open("one", "two")
        assert shop.told(JobIsolated) == []


async def test_with_a_limit_of_two_a_job_runs_alone_after_one_death() -> None:
    async with crowd(delivery_limit=2) as shop:
        await shop.suspects("one", "two", deaths=1)
        shop.open("one", "two")
        async with five_at_once(shop):
            await until(lambda: len(shop.ended) == 2)
        assert shop.beside == {"one": set(), "two": set()}


async def test_a_job_at_its_limit_is_buried_and_holds_nobody_up() -> None:
    async with crowd(delivery_limit=3) as shop:
        await shop.suspects("worn out", deaths=3)
        await shop.first("neighbour")
        async with five_at_once(shop):
            await until(lambda: shop.told(JobDead) and shop.inside == ["neighbour"])
            shop.open("neighbour")
        assert shop.told(JobIsolated) == []


async def test_a_worker_of_one_slot_runs_suspects_as_they_come() -> None:
    async with crowd() as shop:
        await shop.suspects("one", "two")
        shop.open("one", "two")
        async with five_at_once(shop, concurrency=1):
            await until(lambda: len(shop.ended) == 2)
        assert shop.told(JobIsolated) == []


async def test_a_suspect_that_is_to_be_tried_again_later_holds_nobody_up_until_then() -> None:
    shop = Crowd()

    @shop.app.task(context=True, retry=RetryPolicy(attempts=2, backoff=Exponential(0.5, jitter=False)))
    async def flaky(ctx: Context[Any]) -> None:
        shop.enter(f"attempt {ctx.attempt}")
        shop.inside.remove(f"attempt {ctx.attempt}")
        if ctx.attempt == 1:
            raise ConnectionError("nobody there")

    async with shop.app:
        await flaky.enqueue()
        await shop.came_back("default", 1)
        async with five_at_once(shop):
            await until(lambda: "attempt 1" in shop.beside)
            await shop.stay.enqueue("meanwhile")
            await until(lambda: shop.inside == ["meanwhile"])
            assert "attempt 2" not in shop.beside, "nobody waits for the delay"
            await until(lambda: "attempt 2" in shop.beside)
            shop.open("meanwhile")
        assert shop.beside["attempt 1"] == set()
        assert shop.beside["attempt 2"] == {"meanwhile"}, "a new try is a new message: it has not come back yet"
        assert len(shop.told(JobIsolated)) == 1


# Who is not waited for.


async def test_a_thread_that_overran_is_not_waited_for() -> None:
    shop, release = Crowd(), threading.Event()

    @shop.app.task(timeout=0.02)
    def stuck() -> None:
        release.wait(20)

    try:
        async with shop.app:
            await shop.suspects("suspect")
            await stuck.with_options(priority=9).enqueue()
            async with five_at_once(shop):
                await until(lambda: shop.inside == ["suspect"])
                shop.open("suspect")
                await until(lambda: len(shop.ended) == 1)
    finally:
        release.set()


async def test_temporary_subscriptions_go_on_meanwhile() -> None:
    shop, heard = Crowd(), list[int]()
    news = shop.app.exchange("news", kind="fanout", payload=int)

    @news.subscribe()
    async def hear(number: int) -> None:
        heard.append(number)

    async with shop.app:
        await shop.suspects("suspect")
        async with five_at_once(shop):
            await until(lambda: shop.inside == ["suspect"])
            await news.publish(7)
            await until(lambda: heard == [7])
            shop.open("suspect")


async def test_what_waits_for_a_job_that_would_stand_still_ends_the_isolation() -> None:
    shop = Crowd()

    @shop.app.task(queue="parts")
    async def part() -> int:
        return 7

    @shop.app.task(queue="wholes")
    async def whole() -> int:
        shop.enter("whole")
        await shop.gate("whole").wait()
        value: int = await part.call()
        shop.inside.remove("whole")
        return value

    async with shop.app:
        await shop.suspects("suspect", "other suspect")
        shop.open("suspect", "other suspect")
        job = await whole.submit()
        await shop.came_back("wholes", 1)
        async with five_at_once(shop):
            await until(lambda: "whole" in shop.inside)
            shop.open("whole")
            assert await job.result(timeout=20) == 7
            await until(lambda: len(shop.ended) == 2)
        (ended,) = shop.told(IsolationEnded)
        assert "waits for" in ended.reason


async def test_what_does_not_end_though_its_time_is_over_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskq.worker.isolation._MARGIN_S", 0.1)
    monkeypatch.setattr("taskq.worker.worker._CUT_S", 0.05)
    shop = Crowd(timeout=0.05)

    @shop.app.task
    async def stubborn() -> None:
        while not shop.go_on.is_set():
            try:
                await shop.go_on.wait()
            except asyncio.CancelledError:
                pass

    async with shop.app:
        await shop.quick.enqueue(1)
        await shop.came_back("default", 1)
        await stubborn.with_options(priority=9).enqueue()
        worker = shop.app.worker(concurrency=5, grace=0)
        async with working(worker) as running:
            await until(lambda: shop.ended == [1])
            (ended,) = shop.told(IsolationEnded)
            assert "does not end" in ended.reason
            await shop.quick.enqueue(2)
            await until(lambda: shop.ended == [1, 2])
            worker.stop("the test is over")
            await running
            shop.go_on.set()
            await until(lambda: worker.running == 0)


# The end of the worker.


async def test_a_stop_gives_back_what_waits_for_its_turn_with_its_count() -> None:
    async with crowd() as shop:
        await shop.suspects("suspect", "other")
        await shop.first("neighbour")
        async with five_at_once(shop) as (worker, running):
            await until(lambda: shop.told(JobIsolated))
            worker.stop("SIGTERM")
            await until(lambda: shop.told(WorkerStopping))
            shop.open("neighbour")
            assert (await running).executed == 1
        assert len(shop.told(JobGivenBack)) == 2
        assert (await shop.states())["default"] == (2, 0)
        assert await shop.redeliveries(2) == [2, 2]
        assert list(shop.beside) == ["neighbour"]


async def test_a_stop_leaves_the_grace_time_to_the_one_that_runs_alone() -> None:
    async with crowd() as shop:
        await shop.suspects("suspect", "other")
        async with five_at_once(shop) as (worker, running):
            await until(lambda: shop.inside == ["suspect"])
            worker.stop("SIGTERM")
            await until(lambda: shop.told(WorkerStopping))
            shop.open("suspect")
            assert (await running).executed == 1
        assert (await shop.states())["default"] == (1, 0)
        assert await shop.redeliveries(1) == [2]


async def test_a_cancelled_worker_hands_back_the_one_that_runs_alone() -> None:
    async with crowd() as shop:
        await shop.suspects("suspect", "other")
        async with working(shop.app.worker(concurrency=5)) as running:
            await until(lambda: shop.inside == ["suspect"])
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert shop.kinds(ExecutionEnded) == [JobHandedBack]
        assert (await shop.states())["default"] == (2, 0)


async def test_a_burst_ends_when_all_suspects_have_run() -> None:
    async with crowd() as shop:
        await shop.suspects(*"abcdefg")
        shop.open(*"abcdefg")
        async with asyncio.timeout(20):
            report = await shop.app.worker(concurrency=5, burst=True).run()
        assert report == WorkerReport(executed=7, dead=0, left_behind=0)
        assert (await shop.states())["default"] == (0, 0)


async def test_a_worker_of_so_many_jobs_gives_back_what_still_waits() -> None:
    async with crowd() as shop:
        await shop.suspects(*"abc")
        await shop.first("one", "two")
        shop.open("one", "two", *"abc")
        async with asyncio.timeout(20):
            report = await shop.app.worker(concurrency=5, max_jobs=3).run()
        assert report.executed == 3
        assert (await shop.states())["default"] == (2, 0)
        assert await shop.redeliveries(2) == [2, 2]
