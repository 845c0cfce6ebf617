"""The program of a run: each execution writes its ledger, into the folder that ``PROOF_LEDGER`` names.

Every task ends after a number of executions that follows from its arguments, so that the checker knows what is too
much.
"""

from __future__ import annotations

import asyncio
import os
from functools import cache
from pathlib import Path
from typing import Any

from taskq import Context, Exponential, Reject, RetryPolicy, Snooze, TaskQ
from taskq.lifecycle import JobExpired
from taskq.worker.execute import Run
from tests.support.ledger import Pen

LEDGER = "PROOF_LEDGER"
ATTEMPTS = 4
_BACKOFF = Exponential(0.1, 2, cap=1)

app: TaskQ[object] = TaskQ("chaos")


@cache
def pen(folder: str) -> Pen:
    """Return the ledger of this process."""
    return Pen(Path(folder))


@app.middleware
async def recorded(ctx: Context[Any], run: Run) -> Any:
    """Write every execution down."""
    with pen(os.environ[LEDGER]).execution(ctx.job_id, attempt=ctx.attempt, execution=ctx.execution):
        return await run()


@app.on(JobExpired)
def dropped(event: JobExpired) -> None:
    """Write down what was not run because it was too late."""
    pen(os.environ[LEDGER]).expired(event.job_id)


@app.task(context=True, queue="chaos.work")
async def work(ctx: Context, seconds: float = 0.0) -> str:
    """Take some time, and return the own job id."""
    await asyncio.sleep(seconds)
    return ctx.job_id


@app.task(context=True, queue="chaos.calls")
async def echo(ctx: Context, number: int) -> tuple[str, int]:
    """Return the own job id and the argument."""
    await asyncio.sleep(0.001 * (number % 5))  # so that replies come in another order than the calls
    return ctx.job_id, number


@app.task(context=True, queue="chaos.retries", retry=RetryPolicy(attempts=ATTEMPTS, backoff=_BACKOFF))
async def flaky(ctx: Context, good_at: int) -> int:
    """Fail before attempt ``good_at``; above the policy's attempts it becomes a dead letter."""
    if ctx.attempt < good_at:
        raise ConnectionError(f"attempt {ctx.attempt} found nobody")
    return ctx.attempt


@app.task(queue="chaos.retries")
async def refuse() -> None:
    """Become a dead letter."""
    raise Reject("nobody wants it")


@app.task(context=True, queue="chaos.retries")
async def not_yet(ctx: Context) -> int:
    """Come back once, later."""
    if ctx.execution == 1:
        raise Snooze(0.2)
    return ctx.execution
