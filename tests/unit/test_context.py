"""What a running task knows about its job."""

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from taskq.errors import UsageError
from taskq.tasks.context import Context, JobLog, Running, current_context

HERE: Context[str] = Context(
    job_id="j1",
    task="resize",
    queue="images",
    attempt=1,
    execution=2,
    deadline=datetime(2030, 1, 1, tzinfo=UTC),
    state="state",
    headers={},
    log=logging.LoggerAdapter(logging.getLogger("taskq.test")),
)


def test_no_task_is_running_outside_of_one() -> None:
    with pytest.raises(UsageError, match="no task is running here"):
        Context.current()


def test_current_is_the_context_of_the_running_task() -> None:
    token = current_context.set(Running(lambda: HERE))
    try:
        assert Context.current() is HERE
    finally:
        current_context.reset(token)


async def test_from_thread_runs_a_coroutine_function_on_the_loop_of_the_worker() -> None:
    loop = asyncio.get_running_loop()
    context = replace(HERE, _loop=loop)

    async def add(a: int, *, b: int) -> int:
        assert asyncio.get_running_loop() is loop
        return a + b

    async def fail() -> None:
        raise ValueError("no")

    assert await asyncio.to_thread(context.from_thread, add, 1, b=2) == 3
    with pytest.raises(ValueError, match="no"):
        await asyncio.to_thread(context.from_thread, fail)


async def test_from_thread_on_the_loop_itself_is_refused_before_it_waits() -> None:
    async def nothing() -> None: ...

    with pytest.raises(UsageError, match="await the function itself"):
        replace(HERE, _loop=asyncio.get_running_loop()).from_thread(nothing)
    with pytest.raises(UsageError, match="works in a task that a worker runs in a thread"):
        HERE.from_thread(nothing)


def test_log_keeps_the_callers_extra_beside_the_job(caplog: pytest.LogCaptureFixture) -> None:
    log = JobLog(job_id="j1", task="resize", queue="images", attempt=2)
    with caplog.at_level(logging.INFO, "taskq.task"):
        log.info("one", extra={"rows": 3, "attempt": 9})
        log.info("two")
    one, two = (vars(record) for record in caplog.records)
    assert (one["rows"], one["job_id"], one["task"], one["queue"], one["attempt"]) == (3, "j1", "resize", "images", 2)
    assert two["job_id"] == "j1"
    assert "rows" not in two
