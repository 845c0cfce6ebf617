"""A producer that is also a caller, until SIGTERM: `python -m tests.chaos.load LEDGER SEED RATE`.

It sends ``RATE`` jobs a second of every kind, drawn from ``SEED``, and writes each step down: what it wanted before it
is sent, what was confirmed, what was refused (and so must never run), whose result a caller got. An error that taskq
raises is no error here; one of any other kind ends the process, which the run takes for a failure.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from taskq import BoundCall, EnqueueManyFailed, PublishUnconfirmed, TaskqError
from taskq.wire.ids import new_job_id
from tests.chaos.program import ATTEMPTS, app, clock, echo, flaky, not_yet, refuse, work
from tests.support.ledger import Pen

_IN_FLIGHT = 200
_REPLY_TIMEOUT_S = 60.0
_PAUSE_S = 0.2


class Load:
    """What one producer sends, and what it writes down."""

    def __init__(self, pen: Pen, rng: Random) -> None:
        self._pen = pen
        self._rng = rng

    async def send_one(self) -> None:
        """Send a job or a call of some kind."""
        kind = self._rng.random()
        if kind < 0.25:
            await self._call()
        else:
            await self._enqueue(*self._drawn(kind))

    def _drawn(self, kind: float) -> tuple[BoundCall[object], int, float | None]:
        """Return a call, the attempts that it may take, and its ETA."""
        if kind < 0.60:
            return work.bind(0.002 * self._rng.randrange(5)), 1, None
        if kind < 0.75:
            delay_s = 0.1 + self._rng.random()
            eta = time.time() + delay_s  # the checker goes by the time of the machine, the program by its own clock
            return work.with_options(at=datetime.fromtimestamp(clock.now() + delay_s, UTC)).bind(), 1, eta
        if kind < 0.90:
            return flaky.bind(self._rng.choice((1, 2, 2, 3, ATTEMPTS + 1))), ATTEMPTS, None
        return (refuse.bind(), 1, None) if kind < 0.93 else (not_yet.bind(), 1, None)

    async def _enqueue(self, call: BoundCall[object], attempts: int, eta: float | None) -> None:
        job_id = new_job_id()
        self._pen.wanted(job_id, attempts=attempts, not_before=eta)
        try:
            await app.enqueue_many([call.with_options(job_id=job_id)])
        except EnqueueManyFailed as failed:
            ((_, error),) = failed.failed
            if not isinstance(error, PublishUnconfirmed):  # else it may run, or not
                self._pen.refused(job_id, why=repr(error))
        else:
            self._pen.confirmed(job_id)

    async def _call(self) -> None:
        job_id, number = new_job_id(), self._rng.randrange(1000)
        self._pen.wanted(job_id)
        try:
            job = await echo.with_options(job_id=job_id, reply_timeout=_REPLY_TIMEOUT_S).submit(number)
        except PublishUnconfirmed:
            return
        except TaskqError as error:
            self._pen.refused(job_id, why=repr(error))
            return
        self._pen.confirmed(job_id)
        try:
            of, returned = await job.result()
        except TaskqError as error:
            self._pen.unanswered(job_id, why=repr(error))
        else:
            assert returned == number
            self._pen.answered(job_id, of=of)


async def main(folder: Path, seed: int, rate: float) -> None:
    """Send until SIGTERM, then wait for what is under way."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    load = Load(Pen(folder), Random(seed))
    room = asyncio.Semaphore(_IN_FLIGHT)

    async def send() -> None:
        try:
            await load.send_one()
        finally:
            room.release()

    async with opened(stopping), asyncio.TaskGroup() as group:
        while not stopping.is_set():
            await room.acquire()
            group.create_task(send())
            await asyncio.sleep(1 / rate)


@asynccontextmanager
async def opened(stopping: asyncio.Event) -> AsyncIterator[None]:
    """Open the app as soon as its broker lets it."""
    while not stopping.is_set():
        try:
            await app.__aenter__()
            break
        except TaskqError as error:
            print(f"cannot open yet: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(_PAUSE_S)
    try:
        yield
    finally:
        await app.__aexit__(None, None, None)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
