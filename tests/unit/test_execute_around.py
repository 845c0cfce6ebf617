"""What stands around a task: middleware, results, threads."""

import asyncio
import threading
from typing import Any

import pytest

from taskq import Context
from taskq.wire.dead import DeadReason
from taskq.worker.execute import Attempt, Middleware
from taskq.worker.outcome import (
    Interrupted,
    Returned,
    TimedOut,
    Unusable,
)
from tests.support.attempts import SHORT_S, Body, error_of, ran

# Middleware.


async def test_middleware_wraps_in_the_order_in_which_it_was_added() -> None:
    seen: list[str] = []

    def named(name: str) -> Middleware:
        async def wrap(ctx: Context[Any], go: Body) -> Any:
            seen.append(f"{name} before {ctx.task}")
            value = await go()
            seen.append(f"{name} after")
            return value

        return wrap

    async def work() -> int:
        seen.append("task")
        return 1

    assert await ran(work, middleware=(named("outer"), named("inner"))) == Returned(b"1")
    assert seen == ["outer before work", "inner before work", "task", "inner after", "outer after"]


async def test_middleware_may_replace_the_value_or_never_run_the_task() -> None:
    called: list[int] = []

    async def double(ctx: Context[Any], go: Body) -> Any:
        return 2 * await go()

    async def never(ctx: Context[Any], go: Body) -> Any:
        return 5

    async def work() -> int:
        called.append(1)
        return 1

    assert await ran(work, middleware=(double,)) == Returned(b"2")
    assert await ran(work, middleware=(double, never)) == Returned(b"10")
    assert called == [1]


async def test_middleware_that_raises_fails_the_attempt_and_one_that_catches_saves_it() -> None:
    async def breaks(ctx: Context[Any], go: Body) -> Any:
        raise LookupError("no tenant")

    async def saves(ctx: Context[Any], go: Body) -> Any:
        try:
            return await go()
        except LookupError:
            return 0

    async def work() -> int:
        return 1

    assert isinstance(error_of(await ran(work, middleware=(breaks,))), LookupError)
    assert await ran(work, middleware=(saves, breaks)) == Returned(b"0")


async def test_middleware_is_inside_the_time_limit() -> None:
    async def slow(ctx: Context[Any], go: Body) -> Any:
        await asyncio.Event().wait()

    async def work() -> int:
        return 1

    assert await ran(work, middleware=(slow,), timeout_s=SHORT_S) == TimedOut(SHORT_S)


# Results.


async def test_result_that_does_not_fit_its_type_is_unusable_where_a_caller_waits() -> None:
    async def work() -> int:
        value: Any = "many"
        return value  # type: ignore[no-any-return]

    outcome = await ran(work)
    assert isinstance(outcome, Unusable)
    assert outcome.reason is DeadReason.INVALID_RESULT
    assert "result" in outcome.failure.message


async def test_result_that_is_too_large_is_unusable_and_says_both_sizes() -> None:
    async def work() -> str:
        return "x" * 1000

    outcome = await ran(work, largest=1000)
    assert isinstance(outcome, Unusable)
    assert outcome.reason is DeadReason.INVALID_RESULT
    assert "1,002 bytes" in outcome.failure.message
    assert await ran(work, largest=1002) == Returned(b'"' + b"x" * 1000 + b'"')


@pytest.mark.parametrize("value", ["x" * 5000, object(), {1, 2}])
@pytest.mark.parametrize("reply_to", [None, ""])
async def test_without_a_caller_a_result_is_not_even_written(value: Any, reply_to: str | None) -> None:
    async def work() -> int:
        return value  # type: ignore[no-any-return]

    assert await ran(work, reply_to=reply_to) == Returned(None)


# Threads.


async def test_thread_task_sees_its_context_and_can_use_the_event_loop() -> None:
    async def on_the_loop(number: int) -> str:
        return f"{number} on {threading.current_thread().name}"

    def work() -> tuple[str, str, bool]:
        ctx = Context.current()
        return ctx.job_id, ctx.from_thread(on_the_loop, 7), threading.current_thread().daemon

    loop_thread = threading.current_thread().name
    assert await ran(work) == Returned(f'["j","7 on {loop_thread}",true]'.encode())


async def test_error_that_from_thread_raises_reaches_the_task() -> None:
    async def on_the_loop() -> None:
        raise LookupError("no row")

    def work() -> None:
        Context.current().from_thread(on_the_loop)

    assert str(error_of(await ran(work))) == "no row"


@pytest.mark.parametrize("shutdown", [False, True])
async def test_thread_that_is_cut_goes_on_while_its_attempt_is_over(shutdown: bool) -> None:
    release, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait()
        raise ValueError("nobody hears it")

    attempt = Attempt()
    running = asyncio.create_task(ran(work, attempt=attempt, timeout_s=5 if shutdown else SHORT_S))
    await begun.wait()
    if shutdown:
        attempt.interrupt()
    assert await running == (Interrupted() if shutdown else TimedOut(SHORT_S))
    assert attempt.overruns
    assert attempt.thread is not None
    release.set()
    await asyncio.wait([attempt.thread])
    assert not attempt.overruns
