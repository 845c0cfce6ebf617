"""The program that the process tests run: its workers write a ledger, into the folder that ``PROOF_LEDGER`` names.

Tests import it as producers and callers, worker processes as ``tests.support.program:app``. Each queue belongs to one
kind of test, so that ``--queue`` picks what a worker does. A *gate* is a path: a job waits there until the file exists.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

from taskq import Context, Exponential, Queue, Reject, RetryPolicy, TaskQ
from taskq.lifecycle import JobExpired, JobGivenBack
from taskq.worker.execute import Run
from tests.support.ledger import Pen

LEDGER = "PROOF_LEDGER"
CROWDS = ("crowd", "throng", "classic-crowd")
_LOOK_S = 0.01
_LONGEST_S = 60.0

app: TaskQ[object] = TaskQ("proof")
app.add_queue(Queue("fragile", delivery_limit=2))
for crowd in CROWDS:
    app.add_queue(Queue(crowd, type="classic" if crowd.startswith("classic") else "quorum", delivery_limit=5))


@cache
def _pen(folder: str) -> Pen:
    return Pen(Path(folder))


@app.middleware
async def recorded(ctx: Context[Any], run: Run) -> Any:
    """Write every execution down, of whatever kind its task is."""
    with _pen(os.environ[LEDGER]).execution(ctx.job_id, attempt=ctx.attempt, execution=ctx.execution):
        return await run()


@app.on(JobExpired)
def dropped(event: JobExpired) -> None:
    """Write down what was not run because it was too late."""
    _pen(os.environ[LEDGER]).expired(event.job_id)


@app.on(JobGivenBack)
def given_back(event: JobGivenBack) -> None:
    """Write down what goes back without having been run."""
    _pen(os.environ[LEDGER]).given_back(event.job_id)


@app.task(context=True, queue="work")
async def work(ctx: Context, seconds: float = 0.0) -> str:
    """Take some time, and return the own job id."""
    await asyncio.sleep(seconds)
    return ctx.job_id


@app.task(context=True, queue="calls")
async def echo(ctx: Context, number: int) -> tuple[str, int]:
    """Return the own job id and the argument."""
    await asyncio.sleep(0.001 * (number % 7))  # so that replies come in another order than the calls
    return ctx.job_id, number


@app.task(context=True, queue="gated")
async def gated(ctx: Context, gate: str) -> str:
    """Run until the gate is open."""
    while not os.path.exists(gate):  # noqa: ASYNC110  # the test that opens it is another process
        await asyncio.sleep(_LOOK_S)
    return ctx.job_id


@app.task(queue="gated")
def stuck_thread() -> None:
    """Never end, in a thread that nobody can stop."""
    threading.Event().wait()


@app.task(queue="gated", run="process")
def gated_process(started: str, gate: str) -> int:
    """Say which process this is in the file ``started``, and run until the gate is open.

    It takes no notice of its worker's end: that it is ended with it is what tests look at. But it ends some time.
    """
    until = time.monotonic() + _LONGEST_S
    Path(started).write_text(str(os.getpid()))
    while not os.path.exists(gate) and time.monotonic() < until:
        time.sleep(_LOOK_S)
    return os.getpid()


@app.task(context=True, queue="retries", retry=RetryPolicy(attempts=3, backoff=Exponential(0.2, 3, jitter=False)))
async def flaky(ctx: Context, good_at: int) -> int:
    """Fail before attempt ``good_at``."""
    if ctx.attempt < good_at:
        raise ConnectionError(f"attempt {ctx.attempt} found nobody")
    return ctx.attempt


@app.task(queue="retries")
async def refuse(reason: str) -> None:
    """Say that this job can never succeed."""
    raise Reject(reason)


@app.task(queue="fragile")
async def kill_worker() -> None:
    """Kill the process that runs this, as a crash in a C library or the OOM killer does."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(queue="fragile")
async def neighbour(number: int) -> int:
    """Run beside a job that kills."""
    return number


async def _explode() -> None:
    """Kill the process that runs this, some time after it began, as a fault of it that the ledger knows."""
    await asyncio.sleep(0.05)
    pid = os.getpid()
    with _pen(os.environ[LEDGER]).fault("SIGKILL", pid=pid):
        pass
    os.kill(pid, signal.SIGKILL)


async def _stand_by(ctx: Context, seconds: float = 0.02) -> str:
    """Run beside whatever happens, and return the own job id."""
    await asyncio.sleep(seconds)
    return ctx.job_id


bombs = {name: app.task(name=f"bomb-{name}", queue=name)(_explode) for name in CROWDS}
bystanders = {name: app.task(name=f"bystander-{name}", queue=name, context=True)(_stand_by) for name in CROWDS}


@app.task(queue="strict")
async def double(number: int) -> int:
    """Take a number and nothing else."""
    return 2 * number


@app.task(queue="blocking")
async def block_the_loop(seconds: float) -> None:
    """Do what no async task should."""
    time.sleep(seconds)  # that is the point
