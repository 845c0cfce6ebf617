"""An open app: its settings, its listeners, many calls at once, and its life in a web application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from taskq import (
    EnqueueManyFailed,
    TaskQ,
    UsageError,
)
from taskq.broker.protocol import Outgoing
from taskq.lifecycle import AppOpened, Event, HookFailed, JobEnqueued, ReplyDropped
from taskq.wire.message import Message
from tests.support.inmemory import bare_environment, shop

__all__ = ["bare_environment"]  # a fixture that pytest finds here

# Settings.


async def test_argument_of_the_app_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_GRACE", "5")
    monkeypatch.setenv("TASKQ_CONCURRENCY", "3")
    app: TaskQ[Any] = TaskQ("shop", grace=7)

    @app.task
    async def work() -> None: ...

    async with app:
        settings = app.connection.settings
        assert (settings.grace, settings.concurrency, settings.timeout) == (7, 3, 900)
        assert app.worker()._pipeline.slots == {"default": 3}  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"queues": {"nope": None}}, "no task or subscription uses the queue 'nope'"),
        ({"queues": {}}, "at least one queue"),
        ({"concurrency": 0}, "concurrency of 0"),
        ({"max_jobs": 0}, "max_jobs=0"),
        ({"grace": -1}, "grace"),
    ],
)
async def test_worker_that_cannot_work_is_refused(options: Any, says: str) -> None:
    app, _ = shop()
    async with app:
        with pytest.raises(UsageError, match=says):
            app.worker(**options)


# Listeners.


async def test_listeners_of_both_kinds_hear_and_one_that_raises_disturbs_nothing() -> None:
    app, double = shop()
    heard: list[str] = []

    @app.on(JobEnqueued)
    def plain(event: JobEnqueued) -> None:
        heard.append(f"plain {event.task}")

    @app.on(JobEnqueued)
    def breaks(event: JobEnqueued) -> None:
        raise LookupError("no")

    @app.on(JobEnqueued)
    async def slow(event: JobEnqueued) -> None:
        await asyncio.sleep(0.01)
        heard.append(f"slow {event.task}")

    @app.on(HookFailed)
    def failed(event: HookFailed) -> None:
        heard.append(f"failed {event.error}")

    async with app:
        await double.enqueue(1)
        assert heard == ["plain double", "failed no"]
    assert heard == ["plain double", "failed no", "slow double"]  # closing waits for it


async def test_listener_that_is_under_way_when_the_app_closes_may_still_send_and_wait() -> None:
    app, double = shop()
    counts: list[int] = []
    closing = asyncio.Event()

    @app.on(JobEnqueued)
    async def follow(event: JobEnqueued) -> None:
        if not counts:
            counts.append(0)
            await closing.wait()
            await double.enqueue(2)
            counts.append(sum(state.ready for state in await app.queues()))

    async with app:
        await double.enqueue(1)
        asyncio.get_running_loop().call_later(0.01, closing.set)
    assert counts == [0, 2]
    with pytest.raises(UsageError, match="is not open"):
        await app.queues()


async def test_opening_tells_the_broker_and_that_nobody_chose_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TASKQ_URL")
    monkeypatch.chdir(tmp_path)
    app, _ = shop()
    opened: list[AppOpened] = []
    app.on(AppOpened)(opened.append)
    async with app:
        pass
    ((name, label, by_default),) = [(e.app, e.label, e.by_default) for e in opened]
    assert (name, label, by_default) == ("shop", f"sqlite:///{tmp_path}/taskq.db", True)


async def test_reply_whose_queue_is_gone_is_told() -> None:
    app, _ = shop()
    events: list[Event] = []
    app.on(ReplyDropped)(events.append)
    async with app:
        reply = Message(body=b"1", message_id="m", correlation_id="1")
        outgoing = Outgoing(reply, "taskq.reply.gone", mandatory=False)
        await app.connection.broker.publish(outgoing, timeout_s=5)
    assert len(events) == 1


# enqueue_many.


async def test_enqueue_many_takes_iterables_of_both_kinds() -> None:
    app, double = shop()

    async def lazily() -> AsyncIterator[Any]:
        for n in range(5):
            yield double.bind(n)

    async with app:
        jobs = await app.enqueue_many(double.bind(n) for n in range(20))
        jobs += await app.enqueue_many(lazily())
        assert len({job.id for job in jobs}) == 25
        (state, _) = await app.queues()
        assert state.ready == 25


async def test_enqueue_many_refuses_calls_of_another_app_and_what_is_no_call() -> None:
    app, double = shop()
    other, foreign = shop()
    things: tuple[tuple[Any, str], ...] = (
        (foreign.bind(1), "does not belong to app 'shop'"),
        (double, "no bound call"),
    )
    async with app, other:
        for thing, says in things:
            with pytest.raises(EnqueueManyFailed, match=says) as caught:
                await app.enqueue_many([double.bind(1), thing])
            assert len(caught.value.confirmed) == 1
            assert isinstance(caught.value.__cause__, UsageError)
            assert caught.value.failed[0][0] is thing


# In a web application.


async def test_app_lives_in_the_lifespan_of_fastapi() -> None:
    app, double = shop()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with app:
            yield

    web = FastAPI(lifespan=lifespan)

    @web.post("/double/{n}")
    async def enqueue(n: int) -> dict[str, Any]:
        return {"job": (await double.enqueue(n)).id, "result": await double.call(n)}

    async with web.router.lifespan_context(web):
        worker = app.worker(grace=0)
        running = asyncio.create_task(worker.run())
        async with AsyncClient(transport=ASGITransport(app=web), base_url="http://web") as client:
            answers = await asyncio.gather(*(client.post(f"/double/{n}") for n in range(10)))
        assert [answer.json()["result"] for answer in answers] == [2 * n for n in range(10)]
        assert all(answer.status_code == 200 for answer in answers)
        worker.stop("done")
        await running
    with pytest.raises(UsageError):
        await double.enqueue(1)


async def test_use_on_another_event_loop_is_refused_and_stores_nothing() -> None:
    app = TaskQ("loops", url="memory://")

    @app.task
    async def work() -> None: ...

    async with app:
        with pytest.raises(UsageError, match="opened on another event loop"):
            await asyncio.to_thread(asyncio.run, work.enqueue())
        assert [state.ready for state in await app.queues()] == [0, 0]
