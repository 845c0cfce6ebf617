"""The program of a run: each execution writes its ledger, into the folder that ``PROOF_LEDGER`` names.

Every task ends after a number of executions that follows from its arguments, so that the checker knows what is too
much. ``CHAOS_CLOCK`` names the file that moves the clock of this process.
"""

from __future__ import annotations

import asyncio
import os
from functools import cache
from pathlib import Path
from typing import Any

from taskq import Context, Exponential, Reject, RetryPolicy, Snooze, TaskQ
from taskq.app.connection import Backend
from taskq.clock import Clock, SystemClock
from taskq.lifecycle import JobExpired, JobGivenBack
from taskq.worker.execute import Run
from tests.chaos.shiftedclock import CLOCK, ShiftedClock
from tests.support.ledger import Pen

LEDGER = "PROOF_LEDGER"
ATTEMPTS = 4
_BACKOFF = Exponential(0.1, 2, cap=1)

clock: Clock = ShiftedClock(Path(os.environ[CLOCK])) if CLOCK in os.environ else SystemClock()
app: TaskQ[object] = TaskQ("chaos")
app.use_backend(Backend(clock=clock))


@cache
def pen(folder: str) -> Pen:
    """Return the ledger of this process."""
    return Pen(Path(folder))


@app.middleware
async def recorded(ctx: Context[Any], run: Run) -> Any:
    """Write every execution down."""
    ledger = pen(os.environ[LEDGER])
    with ledger.execution(ctx.job_id, attempt=ctx.attempt, execution=ctx.execution, queue=ctx.queue):
        return await run()


@app.on(JobExpired)
def dropped(event: JobExpired) -> None:
    """Write down what was not run because it was too late."""
    pen(os.environ[LEDGER]).expired(event.job_id)


@app.on(JobGivenBack)
def given_back(event: JobGivenBack) -> None:
    """Write down what goes back without having been run."""
    pen(os.environ[LEDGER]).given_back(event.job_id)


WORK, CALLS, RETRIES = QUEUES = ("chaos.work", "chaos.calls", "chaos.retries")


@app.task(context=True, queue=WORK)
async def work(ctx: Context, seconds: float = 0.0) -> str:
    """Take some time, and return the own job id."""
    await asyncio.sleep(seconds)
    return ctx.job_id


@app.task(context=True, queue=WORK)
async def long_at_first(ctx: Context, seconds: float) -> int:
    """Take that time, but only once."""
    await asyncio.sleep(seconds if ctx.execution == 1 else 0)
    return ctx.execution


@app.task(context=True, queue=CALLS)
async def echo(ctx: Context, number: int) -> tuple[str, int]:
    """Return the own job id and the argument."""
    await asyncio.sleep(0.001 * (number % 5))  # so that replies come in another order than the calls
    return ctx.job_id, number


@app.task(context=True, queue=RETRIES, retry=RetryPolicy(attempts=ATTEMPTS, backoff=_BACKOFF))
async def flaky(ctx: Context, good_at: int) -> int:
    """Fail before attempt ``good_at``; above the policy's attempts it becomes a dead letter."""
    if ctx.attempt < good_at:
        raise ConnectionError(f"attempt {ctx.attempt} found nobody")
    return ctx.attempt


@app.task(queue=RETRIES)
async def refuse() -> None:
    """Become a dead letter."""
    raise Reject("nobody wants it")


@app.task(context=True, queue=RETRIES)
async def not_yet(ctx: Context) -> int:
    """Come back once, later."""
    if ctx.execution == 1:
        raise Snooze(0.2)
    return ctx.execution
