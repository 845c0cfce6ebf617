"""A worker that ends by itself, and what it notices on the way."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from taskq import BrokerBlocked, Context, Fixed, Reject, RetryPolicy, TaskFailed
from taskq.lifecycle import (
    ExecutionEnded,
    JobHandedBack,
    JobSucceeded,
    LoopBlocked,
    OwnQueueAwaited,
    WorkerStopping,
)
from taskq.tasks.options import RESERVED_PREFIX
from taskq.worker.watchdog import Watchdog
from taskq.worker.worker import WorkerReport
from tests.support.shop import Shop, working
from tests.support.waiting import until

# Limits and bursts.


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("limit", [1, 3])
async def test_worker_ends_after_its_number_of_jobs_and_leaves_the_others(concurrency: int, limit: int) -> None:
    shop = Shop()
    async with shop.app:
        await shop.app.enqueue_many(shop.quick.bind(n) for n in range(20))
        async with asyncio.timeout(10):
            report = await shop.app.worker(max_jobs=limit, concurrency=concurrency).run()
        assert limit <= report.executed <= limit + concurrency - 1
        assert report.executed == len(shop.ended)
        assert (await shop.states())["default"] == (20 - report.executed, 0)
        assert JobHandedBack not in shop.kinds(ExecutionEnded)
    (stopping,) = [e for e in shop.events if isinstance(e, WorkerStopping)]
    assert stopping.reason == f"{limit} jobs executed"


async def test_worker_at_its_limit_waits_for_the_jobs_that_run() -> None:
    shop = Shop()
    async with shop.app:
        await shop.slow.enqueue(1)
        await shop.quick.enqueue(2)
        await shop.quick.enqueue(3)
        async with working(shop.app.worker(max_jobs=2, concurrency=2, grace=0)) as running:
            await until(lambda: 2 in shop.ended)
            await asyncio.sleep(0.02)
            assert not running.done()
            shop.go_on.set()
            assert (await running).executed == 2
        assert shop.ended == [2, 1]
        assert (await shop.states())["default"] == (1, 0)


async def test_burst_ends_when_the_queues_are_empty_and_waits_for_its_own_retries() -> None:
    shop = Shop()

    @shop.app.task(retry=RetryPolicy(attempts=2, backoff=Fixed(0.15)))
    async def flaky() -> None:
        if Context.current().attempt == 1:
            raise ValueError
        shop.ended.append(99)

    async with shop.app:
        await flaky.enqueue()
        await shop.app.enqueue_many(shop.quick.bind(n) for n in range(5))
        async with asyncio.timeout(10):
            report = await shop.app.worker(burst=True).run()
        assert report == WorkerReport(executed=7, dead=0, left_behind=0)
        assert sorted(shop.ended) == [0, 1, 2, 3, 4, 99]


async def test_burst_does_not_wait_for_what_others_have_delayed_and_tells_of_the_dead() -> None:
    shop = Shop()

    @shop.app.task
    async def rejecting() -> None:
        raise Reject("no")

    async with shop.app:
        await shop.quick.with_options(delay=3600).enqueue(1)
        await rejecting.enqueue()
        async with asyncio.timeout(5):
            report = await shop.app.worker(burst=True).run()
        assert (report.executed, report.dead) == (1, 1)


async def test_burst_leaves_no_job_behind_even_one_that_has_just_come() -> None:
    shop = Shop()
    async with shop.app:
        for n in range(10):
            await shop.quick.enqueue(n)
            await shop.app.worker(burst=True).run()
            assert len(shop.ended) == n + 1


async def test_job_that_comes_while_a_burst_asks_whether_it_is_over_is_waited_for() -> None:
    shop = Shop()

    class Late:
        """The real broker, but the first look at its queues is overtaken by a job."""

        def __getattr__(self, name: str) -> Any:
            return getattr(shop.app.connection.broker, name)

        @property
        def inspector(self) -> Any:
            return self

        async def queues(self) -> Any:
            if not shop.begun:
                await shop.slow.enqueue(1)
                await until(lambda: shop.begun)
            return []

    async with shop.app:
        worker: Any = shop.app.worker(burst=True)
        worker._pipeline.broker = Late()
        async with working(worker) as running:
            await until(lambda: shop.begun)
            for _ in range(10):
                await asyncio.sleep(0)
            assert shop.kinds(WorkerStopping) == []
            shop.go_on.set()
            assert (await running).executed == 1


async def test_burst_whose_broker_fails_hands_its_jobs_back_before_it_says_so() -> None:
    shop = Shop()

    class Blocked:
        """The real broker, but a look at its queues fails as soon as a job has begun."""

        def __getattr__(self, name: str) -> Any:
            return getattr(shop.app.connection.broker, name)

        @property
        def inspector(self) -> Any:
            return self

        async def queues(self) -> Any:
            await until(lambda: shop.begun)
            raise BrokerBlocked("full")

    async with shop.app:
        worker: Any = shop.app.worker(burst=True, grace=60)
        worker._pipeline.broker = Blocked()
        async with working(worker) as running:
            await shop.slow.enqueue(1)
            with pytest.raises(BrokerBlocked):
                await running
        assert shop.kinds(ExecutionEnded) == [JobHandedBack]
        assert (await shop.states())["default"] == (1, 0)


# What it notices.


@pytest.mark.parametrize("verb", ["call", "submit"])
async def test_task_that_awaits_a_job_of_its_own_queue_on_its_only_slot_is_warned_of(verb: str) -> None:
    shop = Shop()

    @shop.app.task
    async def asks(n: int) -> int:
        quick = shop.quick.with_options(reply_timeout=0.05, job_id="awaited")
        return await quick.call(n) if verb == "call" else await (await quick.submit(n)).result()

    @shop.app.task(queue="other")
    async def asks_from_elsewhere(n: int) -> int:
        return await shop.quick.call(n)

    async with shop.app:
        worker = shop.app.worker(grace=0)
        async with working(worker) as running:
            with pytest.raises(TaskFailed, match="no result within"):
                await asks.call(1)
            assert await asks_from_elsewhere.call(2) == 2
            worker.stop("done")
            await running
    (warned,) = [e for e in shop.events if isinstance(e, OwnQueueAwaited)]
    assert (warned.job_id, warned.task, warned.by_task, warned.queue) == ("awaited", "quick", "asks", "default")


async def test_task_that_awaits_its_own_queue_with_a_slot_to_spare_is_let_be() -> None:
    shop = Shop()

    @shop.app.task
    async def asks(n: int) -> int:
        return await shop.quick.call(n)

    async with shop.app:
        worker = shop.app.worker(concurrency=2)
        async with working(worker) as running:
            assert await asks.call(1) == 1
            worker.stop("done")
            await running
    assert shop.kinds(OwnQueueAwaited) == []


async def test_task_that_blocks_the_loop_is_shown_by_its_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskq.worker.worker.Watchdog", partial(Watchdog, blocked_s=0.4))
    shop, told = Shop(), threading.Event()
    shop.app.on(LoopBlocked)(lambda _: told.set())

    @shop.app.task
    async def blocks() -> bool:
        return told.wait(5)

    async with shop.app:
        worker = shop.app.worker()
        async with working(worker) as running:
            assert await blocks.call()
            worker.stop("done")
            await running
    (blocked, *_) = [e for e in shop.events if isinstance(e, LoopBlocked)]
    assert "in blocks" in blocked.stack


async def test_listener_or_middleware_that_raises_does_not_stop_the_worker() -> None:
    shop = Shop()

    @shop.app.on(JobSucceeded)
    def breaks(_: JobSucceeded) -> None:
        raise LookupError

    @shop.app.middleware
    async def wrap(ctx: Context[Any], run: Callable[[], Awaitable[Any]]) -> Any:
        if ctx.headers.get("break"):
            raise ValueError("broken middleware")
        return await run()

    async with shop.app:
        worker = shop.app.worker()
        async with working(worker) as running:
            with pytest.raises(TaskFailed, match="broken middleware"):
                await shop.quick.with_options(headers={"break": True}).call(1)
            assert await shop.quick.call(2) == 2
            worker.stop("done")
            report = await running
    assert (report.executed, report.dead) == (2, 1)


async def test_bug_inside_the_worker_ends_it_loudly_and_gives_the_job_to_others() -> None:
    shop = Shop()
    async with shop.app:
        await shop.quick.enqueue(1)
        worker: Any = shop.app.worker()
        worker._pipeline.catalogue.timeouts_s.clear()
        with pytest.raises(KeyError):
            await worker.run()
        assert (await shop.states())["default"] == (1, 0)


async def test_worker_with_many_slots_runs_that_many_at_once_and_no_more() -> None:
    shop = Shop()
    async with shop.app:
        await shop.app.enqueue_many(shop.slow.bind(n) for n in range(10))
        worker = shop.app.worker(concurrency=4)
        async with working(worker) as running:
            await until(lambda: len(shop.begun) == 4)
            assert (await shop.states())["default"] == (6, 4)
            assert worker.running == 4
            shop.go_on.set()
            await until(lambda: len(shop.ended) == 10)
            worker.stop("done")
            assert (await running).executed == 10


async def test_context_of_a_task_tells_what_is_known_of_its_job() -> None:
    shop = Shop()
    seen: list[Any] = []

    @shop.app.task(context=True, timeout=60)
    async def look(ctx: Context[Any]) -> None:
        assert Context.current() is ctx
        seen.append(ctx)

    async with shop.app:
        job = await look.with_options(headers={"tenant": "acme", "n": 7}).enqueue()
        await shop.app.worker(burst=True).run()
    (ctx,) = seen
    assert (ctx.job_id, ctx.task, ctx.queue, ctx.attempt, ctx.execution) == (job.id, "look", "default", 1, 1)
    assert dict(ctx.headers) == {"tenant": "acme", "n": 7}
    assert not any(name.startswith(RESERVED_PREFIX) for name in ctx.headers)
    assert 50 < ctx.deadline.timestamp() - time.time() < 61
