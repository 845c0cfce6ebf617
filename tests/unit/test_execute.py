"""Running one attempt: whose end was it, and what did the task ask for."""

import asyncio
import gc
import time
from datetime import timedelta
from math import inf, nan
from typing import Any

import pytest

from taskq import Context, Reject, Retry, Snooze
from taskq.wire.failure import describe
from taskq.worker.execute import Attempt
from taskq.worker.outcome import (
    Interrupted,
    Outcome,
    Rejected,
    RetryAsked,
    Returned,
    SnoozeAsked,
    TimedOut,
)
from tests.support.attempts import SHORT_S, WISHES, Body, cut, error_of, ran, wish

# Whose timeout, whose cancellation.


async def test_time_limit_cuts_the_task() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    assert await ran(work, timeout_s=SHORT_S) == TimedOut(SHORT_S)


async def test_own_timeout_error_of_a_task_is_an_error_of_its_own() -> None:
    async def work() -> None:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()

    assert isinstance(error_of(await ran(work)), TimeoutError)


async def test_task_that_raises_when_its_time_is_over_has_timed_out() -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("cleaning up failed") from None

    assert await ran(work, timeout_s=SHORT_S) == TimedOut(SHORT_S)


async def test_task_that_swallows_its_time_limit_has_timed_out() -> None:
    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        await asyncio.sleep(0)
        return "done all the same"

    assert await ran(work, timeout_s=SHORT_S) == TimedOut(SHORT_S)


async def test_shutdown_interrupts_the_task_and_leaves_no_cancellation_behind() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    attempt = Attempt()

    async def whole() -> tuple[Outcome, int]:
        outcome = await ran(work, attempt=attempt)
        await asyncio.sleep(0)  # settling goes on after the cut
        current = asyncio.current_task()
        assert current is not None
        return outcome, current.cancelling()

    running = asyncio.create_task(whole())
    await begun.wait()
    attempt.interrupt()
    assert await running == (Interrupted(), 0)


@pytest.mark.parametrize("ending", ["returns", "raises", "retries"])
async def test_task_that_answers_a_shutdown_with_something_else_is_interrupted(ending: str) -> None:
    begun = asyncio.Event()

    async def work() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if ending == "raises":
                raise ValueError("cleaning up failed") from None
            if ending == "retries":
                raise Retry from None
        return "done"

    assert await cut(work, begun) == Interrupted()


async def test_own_cancelled_error_of_a_task_is_an_error_of_its_own() -> None:
    async def work() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    assert isinstance(error_of(await ran(work)), asyncio.CancelledError)


async def test_cancelled_error_raised_by_hand_is_an_error_of_its_own() -> None:
    async def work() -> None:
        raise asyncio.CancelledError("mine")

    assert isinstance(error_of(await ran(work)), asyncio.CancelledError)


async def test_task_that_cancels_its_own_asyncio_task_has_an_error_of_its_own() -> None:
    async def work() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(0)

    worker = asyncio.create_task(asyncio.Event().wait())
    assert isinstance(error_of(await ran(work, attempt=Attempt(worker))), asyncio.CancelledError)
    worker.cancel()


async def test_cancellation_from_outside_is_passed_on() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(ran(work))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("shift_s", [-0.001, 0.001])
async def test_time_limit_and_shutdown_at_once_are_a_shutdown(shift_s: float) -> None:
    attempt = Attempt()

    async def work() -> None:
        asyncio.get_running_loop().call_later(SHORT_S + shift_s, attempt.interrupt)
        time.sleep(2 * SHORT_S)  # so that both are due in one turn of the loop
        await asyncio.Event().wait()

    async def whole() -> Outcome:
        outcome = await ran(work, attempt=attempt, timeout_s=SHORT_S)
        await asyncio.sleep(0)  # settling goes on after the cut
        return outcome

    assert await asyncio.create_task(whole()) == Interrupted()


def test_attempt_whose_loop_is_thrown_away_goes_away_without_a_word() -> None:
    after: list[Outcome] = []

    async def work() -> None:
        await asyncio.Event().wait()

    async def handled() -> None:
        after.append(await ran(work))
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
    running = loop.create_task(handled())
    loop.run_until_complete(asyncio.sleep(0.001))
    loop.close()
    del running
    gc.collect()
    assert after == []


async def test_attempt_that_was_cut_before_it_began_never_begins() -> None:
    began: list[int] = []

    async def work() -> None:
        began.append(1)

    attempt = Attempt()
    attempt.interrupt()
    assert await ran(work, attempt=attempt) == Interrupted()
    assert not began


async def test_cut_after_the_end_changes_nothing() -> None:
    async def work() -> int:
        return 1

    attempt = Attempt()
    assert await ran(work, attempt=attempt) == Returned(b"1")
    attempt.interrupt()
    await asyncio.sleep(0)


# What a task raises.


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(1), MemoryError()]
)
@pytest.mark.parametrize("run", ["async", "thread"])
async def test_no_exception_of_a_task_leaves_the_attempt(error: BaseException, run: str) -> None:
    async def work() -> None:
        raise error

    def sync_work() -> None:
        raise error

    raised = error_of(await ran(work if run == "async" else sync_work))
    # Python itself gives those two a meaning in coroutines and futures, and so may replace them.
    replaced = isinstance(error, StopIteration | GeneratorExit) and isinstance(raised, RuntimeError)
    assert type(raised) is type(error) or replaced


@pytest.mark.parametrize("name", WISHES)
@pytest.mark.parametrize("run", ["async", "thread", "middleware", "middleware before the task"])
async def test_wishes_of_a_task_are_followed_wherever_they_are_raised(name: str, run: str) -> None:
    async def work() -> None:
        if run == "async":
            raise wish(name)

    def sync_work() -> None:
        raise wish(name)

    async def wrap(ctx: Context[Any], go: Body) -> Any:
        if run == "middleware":
            await go()
        raise wish(name)

    middleware = (wrap,) if run.startswith("middleware") else ()
    assert await ran(sync_work if run == "thread" else work, middleware=middleware) == WISHES[name]


class Missing(Reject):
    """It does not call our ``__init__``."""

    def __init__(self, number: int) -> None:
        self.number = number


class Throttled(Retry):
    def __init__(self) -> None:
        pass


class Later(Snooze):
    def __init__(self) -> None:
        self.delay_s = timedelta(seconds=5)  # type: ignore[assignment]  # what a user may write


@pytest.mark.parametrize(
    ("wanted", "outcome"),
    [
        (Reject(404), Rejected("404")),  # type: ignore[arg-type]  # not every caller runs a type checker
        (Reject(ValueError("no such image")), Rejected("no such image")),  # type: ignore[arg-type]
        (Retry(ConnectionError("busy"), after=1), RetryAsked("busy", 1.0)),  # type: ignore[arg-type]
        (Missing(7), Rejected("7")),
        (Throttled(), RetryAsked("", None)),
    ],
    ids=repr,
)
async def test_wish_is_followed_whatever_its_reason_is_made_of(wanted: Exception, outcome: Outcome) -> None:
    async def work() -> None:
        raise wanted

    assert await ran(work) == outcome


class At(Retry):
    def __init__(self, after_s: object) -> None:
        self.after_s = after_s  # type: ignore[assignment]  # a header, say


class In(Snooze):
    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s


@pytest.mark.parametrize(
    "wanted", [Later(), At(nan), At(inf), At(-1.0), At("5"), At(1e300), In(nan), In(-inf), In(1e300)], ids=repr
)
async def test_wish_without_a_usable_time_is_an_error_of_the_task(wanted: Exception) -> None:
    async def work() -> None:
        raise wanted

    assert error_of(await ran(work)) is wanted


async def test_an_error_in_groups_deeper_than_python_recurses_is_an_error_of_the_task() -> None:
    error: Exception = ValueError("no")
    for _ in range(5_000):
        error = ExceptionGroup("unhandled errors in a TaskGroup", [error])

    async def work() -> None:
        raise error

    assert error_of(await ran(work)) is error
    assert describe(error).type == "ExceptionGroup"


@pytest.mark.parametrize(
    ("errors", "outcome"),
    [
        ([Retry("busy", after=7)], RetryAsked("busy", 7.0)),
        ([ExceptionGroup("", [Snooze(9)])], SnoozeAsked(9.0)),
        ([Snooze(9), Retry("busy")], RetryAsked("busy", None)),
        ([Snooze(9), Retry("busy"), Reject("never")], Rejected("never")),
        ([Retry("one", after=1), Retry("two", after=2)], RetryAsked("one", 1.0)),
        ([Retry("busy"), ValueError("no")], None),
        ([Reject("never"), ValueError("no")], None),
        ([ValueError("no")], None),
    ],
)
async def test_group_of_nothing_but_wishes_is_followed_and_any_other_is_an_error(
    errors: list[Exception], outcome: Outcome | None
) -> None:
    async def work() -> None:
        raise ExceptionGroup("unhandled errors in a TaskGroup", errors)

    ended = await ran(work)
    assert ended == outcome if outcome else isinstance(error_of(ended), ExceptionGroup)


async def test_retry_of_a_child_in_a_task_group_is_followed() -> None:
    async def child() -> None:
        raise Retry("busy")

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            group.create_task(asyncio.sleep(60))

    assert await ran(work) == RetryAsked("busy", None)


@pytest.mark.parametrize("run", ["async", "thread"])
async def test_traceback_begins_in_the_task(run: str) -> None:
    async def work() -> None:
        raise ValueError("no")

    def sync_work() -> None:
        raise ValueError("no")

    error = error_of(await ran(work if run == "async" else sync_work))
    first = describe(error).traceback.splitlines()[1]
    assert "test_execute.py" in first
    assert "work" in first


async def test_traceback_begins_in_the_middleware_around_the_task() -> None:
    def work() -> None:
        raise ValueError("no")

    async def wrap(ctx: Context[Any], go: Body) -> Any:
        return await go()

    lines = describe(error_of(await ran(work, middleware=(wrap,)))).traceback.splitlines()
    assert ", in wrap" in lines[1]
    assert [line for line in lines if "execute.py" in line and ", in _elsewhere" in line] != []  # ours in between stay


async def test_traceback_of_our_frames_alone_is_kept_whole() -> None:
    async def work() -> None: ...

    def no_coroutine(ctx: Context[Any], go: Body) -> Any:
        return None  # awaiting it fails in our code

    error = error_of(await ran(work, middleware=(no_coroutine,)))
    assert "execute.py" in describe(error).traceback
