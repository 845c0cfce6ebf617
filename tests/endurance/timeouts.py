"""Calls that time out, calls and enqueues that are cancelled at any moment, and tasks that time out on the worker."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from taskq.errors import JobExpired, ResultTimeout, TaskFailed
from tests.endurance import program
from tests.endurance.brokers import Ground
from tests.endurance.outcome import Outcome, outcome
from tests.endurance.stand import Stand, acting, at_work
from tests.endurance.watch import Watch

_ACTORS = 60
_CANCELLED_S = (0.002, 0.05)  # the call itself, and the broker's confirm


class Ends:
    """The ways in which something is not waited for to its end, each drawn by chance, and counted."""

    def __init__(self, stand: Stand, rng: random.Random) -> None:
        self.count = 0
        self.by_kind: Counter[str] = Counter()
        self._stand = stand
        self._rng = rng
        self._kinds = {
            self._call_that_times_out: 30,
            self._cancelled_call: 25,
            self._cancelled_enqueue: 25,
            self._task_that_times_out: 19,
            self._thread_that_times_out: 1,
        }

    async def one(self) -> None:
        """Do one."""
        (kind,) = self._rng.choices(list(self._kinds), list(self._kinds.values()))
        await kind()
        self.count += 1
        self.by_kind[kind.__name__.strip("_").replace("_", " ")] += 1

    async def _call_that_times_out(self) -> None:
        with suppress(ResultTimeout, JobExpired):
            await program.late.with_options(reply_timeout=self._rng.uniform(0.001, program.LATE_S / 2)).call(1)

    async def _cancelled_call(self) -> None:
        await self._cancelled(asyncio.ensure_future(program.late.call(1)), self._rng.uniform(0, program.LATE_S / 2))

    async def _cancelled_enqueue(self) -> None:
        sending = asyncio.ensure_future(self._stand.note(program.note))
        await self._cancelled(sending, self._rng.uniform(0, self._rng.choice(_CANCELLED_S)))

    async def _task_that_times_out(self) -> None:
        await times_out(program.hang)

    async def _thread_that_times_out(self) -> None:
        await times_out(program.hang_in_thread)

    async def _cancelled(self, waiting: asyncio.Future[object], after_s: float) -> None:
        await asyncio.wait({waiting}, timeout=after_s)
        waiting.cancel()
        await asyncio.wait({waiting})
        if not waiting.cancelled():
            waiting.result()


async def times_out(task: Any) -> None:
    """Call a task that passes its time limit."""
    (error,) = await asyncio.gather(task.call(), return_exceptions=True)
    if not isinstance(error, TaskFailed) or error.reason != "timed-out":
        raise error if isinstance(error, BaseException) else AssertionError(f"it returned {error!r}")


async def run(ground: Ground, watch: Watch, *, count: int, samples: int, seed: int) -> Outcome:
    """Let ``count`` things end too early."""
    began = time.monotonic()
    async with at_work(ground, watch) as stand:
        ends = Ends(stand, random.Random(seed))
        async with acting(stand, *[(ends.one, 0.0)] * _ACTORS):
            for number in range(1, samples + 1):
                while ends.count < count * number // samples:  # noqa: ASYNC110  # nobody signals it
                    await asyncio.sleep(0.01)
                await stand.rest_and_sample()
        return outcome(
            stand, seed=seed, ended=ends.count, kinds=dict(ends.by_kind), seconds=round(time.monotonic() - began)
        )
