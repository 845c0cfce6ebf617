"""The program that has to endure: tasks of all kinds, and what each has done, in a fixed number of bytes.

Its state is the module's, since tasks that run in processes of their own are found by their names. One run at a time.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from taskq import Context, Fixed, Queue, Reject, RetryPolicy, Router, Snooze, TaskQ

MOST = 2_000_000
TIMEOUT_S = 0.02
LATE_S = 0.05

confirmed = bytearray(MOST)
"""1 for each noted job that the broker has confirmed."""

done = bytearray(MOST)
"""How often each has run, up to 255."""

router: Router[Any] = Router(queue="work")
events = router.exchange("news", kind="topic", payload=int)


@router.task
async def note(number: int) -> None:
    """Note that it ran."""
    done[number] = min(255, done[number] + 1)


@router.task(queue="calls")
async def double(number: int) -> int:
    """Answer at once."""
    return 2 * number


@router.task(queue="calls")
async def late(number: int) -> int:
    """Answer after its caller has gone."""
    await asyncio.sleep(LATE_S)
    return number


@router.task(queue="hangs", timeout=TIMEOUT_S)
async def hang() -> None:
    """Never end by itself."""
    await asyncio.Event().wait()


@router.task(queue="hangs", timeout=TIMEOUT_S)
def hang_in_thread() -> None:
    """End later than it may."""
    time.sleep(2 * TIMEOUT_S)


@router.task(queue="hangs", timeout=1.0, run="process")
def in_process(number: int) -> int:
    """Answer from another process."""
    return number + 1


@router.task(queue="hangs")
def in_thread(number: int) -> int:
    """Answer from a thread."""
    return number + 1


@router.task(queue="work", retry=RetryPolicy(attempts=2, backoff=Fixed(0.05)), context=True)
async def flaky(ctx: Context[Any], number: int) -> None:
    """Fail the first time."""
    if ctx.attempt == 1:
        raise ConnectionError("not yet")
    done[number] = min(255, done[number] + 1)


@router.task(queue="work", context=True)
async def snoozing(ctx: Context[Any], number: int) -> None:
    """Put it off once."""
    if ctx.execution == 1:
        raise Snooze(0.05)
    done[number] = min(255, done[number] + 1)


@router.task(queue="work")
async def refuse() -> None:
    """Become a dead letter."""
    raise Reject("this job is never done")


@events.subscribe("kept.#", queue="kept")
async def kept(number: int) -> None:
    """Take events from a queue that stays."""


@events.subscribe("#")
async def passing(number: int) -> None:
    """Take events from a queue that goes with the worker."""


def new_app(url: str, **settings: Any) -> TaskQ[Any]:
    """Return the app, on a broker; what ran before is forgotten."""
    confirmed[:] = done[:] = bytes(MOST)
    app: TaskQ[Any] = TaskQ("endurance", url=url, **settings)
    app.add_queue(Queue("work", concurrency=20, delivery_limit=10_000))
    app.add_queue(Queue("calls", concurrency=50, delivery_limit=10_000))
    app.add_queue(Queue("hangs", concurrency=50, delivery_limit=10_000))
    app.include(router)
    return app


def lost(numbers: int) -> list[int]:
    """Return the jobs among the first ``numbers`` that were confirmed and have not run."""
    return [number for number in range(numbers) if confirmed[number] and not done[number]]
