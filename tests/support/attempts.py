"""Attempts of tasks that are declared on the spot, for tests of their execution."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from taskq import Context, Reject, Retry, Router, Snooze
from taskq.tasks.context import Running, current_context
from taskq.timelimits import TimeLimits
from taskq.worker.execute import Attempt, Middleware, execute
from taskq.worker.outcome import (
    Outcome,
    Raised,
    Rejected,
    RetryAsked,
    SnoozeAsked,
)
from taskq.worker.processes import Processes
from tests.support.jobs import REPLY_TO, prepared

SHORT_S = 0.02
Body = Callable[[], Awaitable[Any]]


def context() -> Context[None]:
    return Context(
        job_id="j",
        task="work",
        queue="default",
        attempt=1,
        execution=1,
        deadline=datetime.now(UTC),
        state=None,
        headers={},
        log=logging.LoggerAdapter(logging.getLogger("test"), {}),
        _loop=asyncio.get_running_loop(),
    )


async def ran(
    function: Callable[..., Any],
    *,
    attempt: Attempt | None = None,
    timeout_s: float = 5.0,
    middleware: tuple[Middleware, ...] = (),
    reply_to: str | None = REPLY_TO,
    largest: int = 1000,
    run: Any = None,
) -> Outcome:
    task: Any = Router().task(name="work", run=run)(function)
    here = context()
    made = Running(lambda: here)
    current_context.set(made)
    return await execute(
        prepared(task, timeout_s=timeout_s, reply_to=reply_to),
        made,
        attempt or Attempt(),
        middleware=middleware,
        processes=Processes(),
        limits=TimeLimits(),
        max_result_bytes=largest,
    )


async def cut(function: Callable[..., Any], begun: asyncio.Event, *, timeout_s: float = 5.0) -> Outcome:
    """Run a task and cut it, as a shutdown does, once it has begun."""
    attempt = Attempt()
    running = asyncio.create_task(ran(function, attempt=attempt, timeout_s=timeout_s))
    await begun.wait()
    attempt.interrupt()
    attempt.interrupt()
    return await running


def error_of(outcome: Outcome) -> BaseException:
    assert isinstance(outcome, Raised), outcome
    return outcome.error


def wish(name: str) -> Exception:
    return {"retry": Retry("busy", after=7), "snooze": Snooze(9), "reject": Reject("never")}[name]


WISHES = {
    "retry": RetryAsked("busy", 7.0),
    "snooze": SnoozeAsked(9.0),
    "reject": Rejected("never"),
}
