"""The testing kit: a worker beside the test."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from taskq import Context, Fixed, RetryPolicy, Router, TaskQ, Unroutable, UsageError
from taskq.lifecycle import AppOpened, JobEnqueued, JobRetried, JobStarted, JobSucceeded, WorkerStarted, WorkerStopped
from taskq.testing import Harness, context
from tests.support.waiting import until


async def greet_nobody() -> None: ...


class State:
    def __init__(self, name: str) -> None:
        self.name = name


def declared() -> tuple[TaskQ[State], Any, list[str]]:
    """Return an app whose lifespan and task note what they see, its task, and the notes."""
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[State]:
        seen.append("enter")
        yield State("real")
        seen.append("exit")

    app = TaskQ("test", lifespan=lifespan)

    @app.task(context=True)
    async def look(ctx: Context[State]) -> None:
        seen.append(ctx.state.name)

    return app, look, seen


async def test_job_is_run_beside_the_test_and_drain_waits_for_it() -> None:
    app, done = TaskQ[Any]("test"), list[int]()

    @app.task
    async def work(n: int) -> int:
        await asyncio.sleep(0.01)
        done.append(n)
        return n

    async with Harness(app) as h:
        for n in range(3):
            await work.enqueue(n)
        await h.drain()
        assert done == [0, 1, 2]
        assert await work.call(7) == 7


async def test_app_of_stubs_alone_opens_without_a_worker() -> None:
    app: TaskQ[Any] = TaskQ("test")

    @app.remote("billing.charge", queue="billing")
    def charge(amount: int) -> int:
        raise NotImplementedError

    async with Harness(app) as h:
        with pytest.raises(Unroutable):
            await charge.enqueue(1)
        await h.drain()
        await h.advance(60)
        assert [type(event) for event in h.events] == [AppOpened]


async def test_drain_returns_after_the_last_event_of_the_last_job() -> None:
    app: TaskQ[Any] = TaskQ("test")

    @app.task
    async def work() -> None: ...

    async with Harness(app) as h:
        for n in range(1, 200):
            await work.enqueue()
            await h.drain()
            assert sum(isinstance(event, JobSucceeded) for event in h.events) == n


async def test_drain_waits_for_coroutine_listeners_and_the_jobs_that_they_enqueue() -> None:
    app, done = TaskQ[Any]("test"), list[int]()

    @app.task
    async def work(n: int) -> None:
        done.append(n)

    @app.on(JobSucceeded)
    async def next_one(event: JobSucceeded) -> None:
        await asyncio.sleep(0.005)
        if len(done) < 4:
            await work.enqueue(len(done))

    async with Harness(app) as h:
        await work.enqueue(0)
        await h.drain()
        assert done == [0, 1, 2, 3]


async def test_drain_that_cannot_end_says_what_is_still_there() -> None:
    app: TaskQ[Any] = TaskQ("test")

    @app.task
    async def hang() -> None:
        await asyncio.Event().wait()

    async with Harness(app) as h:
        await hang.enqueue()
        await hang.enqueue()
        with pytest.raises(TimeoutError, match=r"still there after 0.05 s .*default: 1 ready, 1 running"):
            await h.drain(timeout=0.05)


async def test_lifespan_of_the_app_runs_around_the_worker() -> None:
    app, look, seen = declared()
    async with Harness(app) as h:
        await look.enqueue()
        await h.drain()
    assert seen == ["enter", "real", "exit"]


@pytest.mark.parametrize("state", [State("fake"), None])
async def test_given_state_stands_for_the_lifespan_which_is_not_run(state: State | None) -> None:
    app, look, seen = declared()
    async with Harness(app, state=state) as h:
        await look.enqueue()
        await h.drain()
        assert len(h.dead) == (state is None)
    assert seen == (["fake"] if state else [])


async def test_lifespan_that_fails_fails_the_harness_and_frees_the_app() -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        raise LookupError("no database")
        yield

    app = TaskQ("test", lifespan=lifespan)

    @app.task
    async def work() -> None: ...

    with pytest.raises(LookupError, match="no database"):
        async with Harness(app):
            pytest.fail("it opened")
    async with Harness(app, state=None):
        await work.enqueue()


# Events, dead letters, concurrency.


async def test_events_are_all_that_happened_in_order() -> None:
    app: TaskQ[Any] = TaskQ("test")

    @app.task(retry=RetryPolicy(attempts=2, backoff=Fixed(5)))
    async def flaky() -> None:
        if Context.current().attempt == 1:
            raise ValueError

    async with Harness(app) as h:
        await flaky.enqueue()
        await h.advance(5)
    kinds = [type(event) for event in h.events]
    assert kinds[:2] == [AppOpened, WorkerStarted]
    assert [k for k in kinds if k not in (AppOpened, WorkerStarted)][:5] == [
        JobEnqueued,
        JobStarted,
        JobRetried,
        JobStarted,
        JobSucceeded,
    ]
    assert kinds[-1] is WorkerStopped


async def test_concurrency_holds_for_every_queue() -> None:
    app: TaskQ[Any] = TaskQ("test")
    together = asyncio.Barrier(3)

    @app.task
    async def meet() -> None:
        await together.wait()

    async with Harness(app, concurrency=3) as h:
        for _ in range(3):
            await meet.enqueue()
        await h.drain(timeout=5)


async def test_two_harnesses_side_by_side_share_nothing() -> None:
    def one(name: str) -> tuple[TaskQ[Any], Any]:
        app: TaskQ[Any] = TaskQ(name)

        @app.task
        async def work() -> str:
            return name

        return app, work

    (a, work_a), (b, work_b) = one("a"), one("b")
    async with Harness(a) as ha, Harness(b) as hb:
        later = await work_a.with_options(delay=10).submit()
        assert (await work_a.call(), await work_b.call()) == ("a", "b")
        await hb.advance(100)
        assert ha.clock.now() == hb.clock.now() - 100
        await ha.advance(10)
        assert await later.result() == "a"
        assert len([e for e in hb.events if isinstance(e, JobSucceeded)]) == 1


async def test_app_is_in_one_harness_at_a_time_and_on_its_own_broker_afterwards() -> None:
    app, _, _ = declared()
    async with Harness(app, state=None):
        with pytest.raises(UsageError, match="is open"):
            async with Harness(app, state=None):
                pytest.fail("it opened")
        assert app.connection.broker.label.startswith("memory://harness-")
    own = TaskQ[Any]("after", url="memory://own")
    own.task(greet_nobody)
    async with Harness(own):
        assert own.connection.broker.label != "memory://own"
    async with own:
        assert own.connection.broker.label == "memory://own"


async def test_nothing_is_left_behind() -> None:
    app, look, _ = declared()
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    async with Harness(app, state=None) as h:
        await look.with_options(delay=10).enqueue()
        await h.advance(1)
    assert asyncio.all_tasks() == tasks
    await until(lambda: set(threading.enumerate()) <= threads)  # the broker's has said its last word, and is ending


# Context.


router = Router[State](prefix="unit.")


@router.task(context=True)
async def greet(ctx: Context[State], name: str) -> str:
    return f"{ctx.state.name} greets {name}, attempt {ctx.attempt}, {ctx.headers.get('tenant')}"


@router.task(context=True)
def greet_in_a_thread(ctx: Context[State], name: str) -> str:
    return f"{ctx.state.name} greets {name}, {Context.current().job_id}"


async def test_context_tasks_can_be_called_directly() -> None:
    with context(state=State("fake"), attempt=3, headers={"tenant": "acme"}) as made:
        assert await greet("you") == "fake greets you, attempt 3, acme"
        assert (made.execution, made.queue, made.deadline > datetime.now(UTC)) == (3, "default", True)
    with context(state=State("fake"), job_id="j-1"):
        assert greet_in_a_thread("you") == "fake greets you, j-1"
    with pytest.raises(UsageError, match="no task is running here"):
        await greet("you")


def test_contexts_nest() -> None:
    with context(attempt=1):
        with context(attempt=2):
            assert Context.current().attempt == 2
        assert Context.current().attempt == 1
