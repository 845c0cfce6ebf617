"""A worker over the broker in memory: every way in which it ends."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from taskq import BrokerBlocked, TaskFailed, TaskQ
from taskq.broker.protocol import Consumer
from taskq.lifecycle import (
    Event,
    ExecutionEnded,
    JobHandedBack,
    JobSucceeded,
    WorkerStarted,
    WorkerStopped,
    WorkerStopping,
)
from taskq.worker.worker import WorkerReport
from tests.support.shop import Shop, working
from tests.support.waiting import until

# Ends.


async def test_stop_with_nothing_running_ends_at_once() -> None:
    shop = Shop()
    async with shop.app:
        worker = shop.app.worker(grace=60)
        async with working(worker) as running:
            began = time.monotonic()
            worker.stop("SIGTERM")
            assert await running == WorkerReport(executed=0, dead=0, left_behind=0)
            assert time.monotonic() - began < 5
    (stopping,) = [e for e in shop.events if isinstance(e, WorkerStopping)]
    assert (stopping.reason, stopping.running, stopping.grace_s) == ("SIGTERM", 0, 60.0)
    assert shop.kinds(WorkerStarted, WorkerStopping, WorkerStopped) == [WorkerStarted, WorkerStopping, WorkerStopped]


async def test_stop_before_the_start_ends_it_as_well() -> None:
    shop = Shop()
    async with shop.app:
        worker = shop.app.worker()
        worker.stop("at once")
        assert (await worker.run()).executed == 0


async def test_job_that_ends_within_the_grace_is_done_and_none_is_begun_after_the_stop() -> None:
    shop = Shop()
    async with shop.app:
        await shop.slow.enqueue(1)
        await shop.quick.enqueue(2)
        worker = shop.app.worker(grace=30)
        async with working(worker) as running:
            await until(lambda: shop.begun)
            worker.stop("SIGTERM")
            await until(lambda: shop.kinds(WorkerStopping))
            assert not running.done()
            shop.go_on.set()
            assert await running == WorkerReport(executed=1, dead=0, left_behind=0)
        assert shop.ended == [1]
        assert (await shop.states())["default"] == (1, 0)


async def test_job_that_outlasts_the_grace_is_handed_back_with_the_same_attempt() -> None:
    shop = Shop()
    async with shop.app:
        await shop.slow.enqueue(1)
        worker = shop.app.worker(grace=0.02)
        async with working(worker) as running:
            await until(lambda: shop.begun)
            worker.stop("SIGTERM")
            assert await running == WorkerReport(executed=0, dead=0, left_behind=0)
        assert shop.kinds(ExecutionEnded) == [JobHandedBack]
        assert (await shop.states())["default"] == (1, 0)
        shop.go_on.set()
        worker = shop.app.worker(burst=True)
        assert (await worker.run()).executed == 1
        assert shop.begun == [(1, 1), (1, 2)]
        assert shop.ended == [1]


async def test_second_stop_cuts_the_grace_short() -> None:
    shop = Shop()
    async with shop.app:
        await shop.slow.enqueue(1)
        worker = shop.app.worker(grace=60)
        async with working(worker) as running:
            await until(lambda: shop.begun)
            worker.stop("SIGINT")
            await until(lambda: shop.kinds(WorkerStopping))
            assert not running.done()
            worker.stop("SIGINT")
            worker.stop("SIGINT")
            async with asyncio.timeout(5):
                await running
        assert shop.kinds(ExecutionEnded) == [JobHandedBack]


async def test_cancelled_worker_hands_its_jobs_back_without_grace() -> None:
    shop = Shop()
    async with shop.app:
        await shop.slow.enqueue(1)
        async with working(shop.app.worker(grace=60)) as running:
            await until(lambda: shop.begun)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert shop.kinds(ExecutionEnded) == [JobHandedBack]
        assert (await shop.states())["default"] == (1, 0)


async def test_worker_that_is_cancelled_within_its_grace_hands_its_jobs_back() -> None:
    shop = Shop()
    async with shop.app:
        await shop.slow.enqueue(1)
        worker = shop.app.worker(grace=60)
        async with working(worker) as running:
            await until(lambda: shop.begun)
            worker.stop("SIGTERM")
            await until(lambda: shop.kinds(WorkerStopping))
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert shop.kinds(ExecutionEnded) == [JobHandedBack]
        assert (await shop.states())["default"] == (1, 0)


async def test_thread_that_does_not_end_does_not_hold_the_exit_and_is_counted() -> None:
    shop, release = Shop(), threading.Event()

    @shop.app.task
    def stuck() -> None:
        shop.begun.append((0, 0))
        release.wait(20)

    try:
        async with shop.app:
            await stuck.enqueue()
            worker = shop.app.worker(grace=0)
            async with working(worker) as running:
                await until(lambda: shop.begun)
                worker.stop("SIGTERM")
                assert await running == WorkerReport(executed=0, dead=0, left_behind=1)
            (stopped,) = [e for e in shop.events if isinstance(e, WorkerStopped)]
            assert stopped.threads == 1
            assert (await shop.states())["default"] == (1, 0)
    finally:
        release.set()


async def test_coroutine_that_swallows_its_end_does_not_hold_the_exit_and_its_job_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taskq.worker.worker._CUT_S", 0.05)
    shop = Shop()

    @shop.app.task
    async def stubborn() -> None:
        shop.begun.append((0, 0))
        while not shop.go_on.is_set():
            try:
                await shop.go_on.wait()
            except asyncio.CancelledError:
                pass

    async with shop.app:
        await stubborn.enqueue()
        worker = shop.app.worker(grace=0)
        async with working(worker) as running:
            await until(lambda: shop.begun)
            worker.stop("SIGTERM")
            assert (await running).left_behind == 1
        assert (await shop.states())["default"] == (1, 0)
        (message,) = await shop.app.connection.broker.inspector.browse("default", limit=2)
        assert message.headers["taskq-execution"] == 2  # a hand-back, which counts no death
        assert [type(e) for e in shop.events if isinstance(e, ExecutionEnded)] == [JobHandedBack]
        shop.go_on.set()
        await until(lambda: worker.running == 0)
        assert (await shop.states())["default"] == (1, 0)


async def test_a_job_that_is_still_being_settled_at_the_end_is_not_told_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.worker.worker._CUT_S", 0.05)
    monkeypatch.setattr("taskq.broker.sqlite.consumer._CLOSE_S", 0.05)
    app: TaskQ[Any] = TaskQ("shop", url=f"sqlite:///{tmp_path / 'shop.db'}")
    events: list[Event] = []
    app.on(Event)(events.append)
    begun, go_on = asyncio.Event(), asyncio.Event()

    @app.task
    async def slow() -> None:
        begun.set()
        await go_on.wait()

    async with app:
        await slow.enqueue()
        worker = app.worker(grace=0)
        async with working(worker) as running:
            await begun.wait()
            with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")  # nothing can be settled
                go_on.set()
                await asyncio.sleep(0)
                worker.stop("SIGTERM")
                assert (await running).left_behind == 1
        await until(lambda: worker.running == 0)
    assert [type(e) for e in events if isinstance(e, ExecutionEnded)] == [JobSucceeded]


async def test_jobs_behind_a_thread_that_ends_late_wait_for_its_slot() -> None:
    shop, release = Shop(), threading.Event()

    @shop.app.task(timeout=0.02)
    def stuck() -> None:
        release.wait(20)

    try:
        async with shop.app:
            first = await stuck.submit()
            await shop.quick.enqueue(1)
            worker = shop.app.worker(grace=0)
            async with working(worker) as running:
                with pytest.raises(TaskFailed):
                    await first.result()
                assert (await shop.states())["default"] == (1, 0)
                worker.stop("SIGTERM")
                assert (await running).left_behind == 1
            assert shop.ended == []
    finally:
        release.set()


# The lifespan.


async def test_lifespan_that_raises_at_the_start_is_what_run_raises_and_no_job_is_touched() -> None:
    shop = Shop()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        raise LookupError("no database")
        yield

    shop.app.lifespan = lifespan
    async with shop.app:
        await shop.quick.enqueue(1)
        with pytest.raises(LookupError, match="no database"):
            await shop.app.worker().run()
        assert (await shop.states())["default"] == (1, 0)
    assert shop.kinds(WorkerStarted) == []


async def test_lifespan_that_raises_at_the_end_is_what_run_raises_after_the_jobs_are_done() -> None:
    shop = Shop()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        raise LookupError("no goodbye")

    shop.app.lifespan = lifespan
    async with shop.app:
        await shop.quick.enqueue(1)
        with pytest.raises(LookupError, match="no goodbye"):
            await shop.app.worker(burst=True).run()
        assert shop.ended == [1]


async def test_lifespan_ends_after_the_last_job() -> None:
    shop, order = Shop(), list[str]()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        order.append("enter")
        try:
            yield
        finally:
            order.append(f"exit after {len(shop.ended)}")

    shop.app.lifespan = lifespan
    async with shop.app:
        await shop.app.enqueue_many(shop.quick.bind(n) for n in range(5))
        await shop.app.worker(burst=True).run()
    assert order == ["enter", "exit after 5"]


async def test_jobs_of_the_first_queue_go_back_when_a_second_queue_cannot_be_consumed() -> None:
    shop = Shop()

    @shop.app.task(queue="second")
    async def other() -> None: ...

    async with shop.app:
        await shop.slow.enqueue(1)
        broker = shop.app.connection.broker
        consume = broker.consume

        async def consume_first_only(queue: str, **options: Any) -> Consumer:
            if queue == "second":
                await until(lambda: shop.begun)
                raise BrokerBlocked("locked")
            return await consume(queue, **options)

        broker.consume = consume_first_only  # type: ignore[method-assign]
        worker = shop.app.worker(grace=60)
        with pytest.raises(BrokerBlocked):
            await worker.run()
        assert worker.running == 0
        assert shop.kinds(ExecutionEnded) == [JobHandedBack]
        assert (await shop.states())["default"] == (1, 0)
    (stopping,) = [e for e in shop.events if isinstance(e, WorkerStopping)]
    assert (stopping.reason, stopping.running, stopping.grace_s) == ("it failed: BrokerBlocked('locked')", 1, 0.0)
