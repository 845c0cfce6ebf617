"""A mixed load of all kinds for a while, with a fault every few seconds."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from taskq import TaskQ
from taskq.errors import EnqueueManyFailed, JobExpired, ResultTimeout, TaskFailed
from tests.endurance import program
from tests.endurance.brokers import Ground
from tests.endurance.faults import Faults
from tests.endurance.outcome import Outcome, outcome
from tests.endurance.stand import Act, Stand, acting, at_work
from tests.endurance.timeouts import times_out
from tests.endurance.watch import Watch


class Load:
    """What programs do, one act of each kind at a time. ``done`` counts them."""

    def __init__(self, stand: Stand, rng: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self._stand = stand
        self._rng = rng

    def acts(self) -> list[tuple[Act, float]]:
        """Return all kinds, with the pause between two acts of each."""
        kinds = {
            self._note: 0.01,
            self._call: 0.01,
            self._submit: 0.05,
            self._many: 0.5,
            self._delayed: 0.05,
            self._retried: 0.1,
            self._snoozed: 0.1,
            self._refused: 0.2,
            self._timed_out: 0.05,
            self._overrun: 1.0,
            self._in_thread: 0.05,
            self._in_process: 0.2,
            self._impatient: 0.05,
            self._cancelled: 0.02,
            self._publish: 0.02,
            self._listen: 1.0,
            self._look: 1.0,
            self._second_app: 2.0,
        }
        return [(self._counted(kind), pause_s) for kind, pause_s in kinds.items()]

    def _counted(self, kind: Act) -> Act:
        name = kind.__name__.strip("_").replace("_", " ")

        async def once() -> None:
            with suppress(ResultTimeout, JobExpired):  # a fault may last longer than a caller waits
                await kind()
            self.done[name] += 1

        return once

    async def _note(self) -> None:
        await self._stand.note(program.note)

    async def _call(self) -> None:
        assert await program.double.call(21) == 42

    async def _submit(self) -> None:
        job = await program.double.submit(4)
        assert await job.result() == 8

    async def _many(self) -> None:
        numbers = [self._stand.number() for _ in range(50)]
        try:
            await self._stand.app.enqueue_many(program.note.bind(number) for number in numbers)
        except EnqueueManyFailed as error:
            raise error.failed[0][1] from None
        for number in numbers:
            program.confirmed[number] = 1

    async def _delayed(self) -> None:
        await self._stand.note(program.note.with_options(delay=self._rng.uniform(0.05, 1)))

    async def _retried(self) -> None:
        await self._stand.note(program.flaky)

    async def _snoozed(self) -> None:
        await self._stand.note(program.snoozing)

    async def _refused(self) -> None:
        await program.refuse.enqueue()

    async def _timed_out(self) -> None:
        await times_out(program.hang)

    async def _overrun(self) -> None:
        await times_out(program.hang_in_thread)

    async def _in_thread(self) -> None:
        assert await program.in_thread.call(1) == 2

    async def _in_process(self) -> None:
        with suppress(TaskFailed):  # on a busy machine it may pass its limit
            assert await program.in_process.call(1) == 2

    async def _impatient(self) -> None:
        await program.late.with_options(reply_timeout=self._rng.uniform(0.001, program.LATE_S / 2)).call(1)

    async def _cancelled(self) -> None:
        waiting = asyncio.ensure_future(program.late.call(1))
        await asyncio.wait({waiting}, timeout=self._rng.uniform(0, program.LATE_S))
        waiting.cancel()
        await asyncio.wait({waiting})
        if not waiting.cancelled():
            waiting.result()

    async def _publish(self) -> None:
        await program.events.publish(1, key=self._rng.choice(["kept.one", "passing"]))

    async def _listen(self) -> None:
        async with program.events.listen("heard") as heard:
            await program.events.publish(7, key="heard")
            with suppress(TimeoutError):  # the queue may have gone with its connection
                async with asyncio.timeout(2):
                    assert (await anext(heard)).payload == 7

    async def _look(self) -> None:
        await self._stand.app.queues()
        await self._stand.app.dead_letters.list("work", limit=5)

    async def _second_app(self) -> None:
        app: TaskQ[Any] = TaskQ("second", url=self._stand.ground.url, connect_timeout=5)

        @app.remote("double", queue="calls")
        def double(number: int) -> int:
            raise NotImplementedError

        async with app:
            assert await double.call(3) == 6


async def run(
    ground: Ground, watch: Watch, *, seconds: float, samples: int, seed: int, fault_each_s: float = 5.0
) -> Outcome:
    """Keep everything busy for ``seconds``, and as long as one fault for each sample takes."""
    rng = random.Random(seed)
    began = time.monotonic()
    async with at_work(ground, watch, publish_timeout=30, reply_timeout=30) as stand:
        load, faults = Load(stand, random.Random(seed)), Faults(ground, rng)
        async with acting(stand, *load.acts()):
            for number in range(1, samples + 1):
                until = began + seconds * number / samples
                while True:
                    await asyncio.sleep(fault_each_s * rng.uniform(0.5, 1.5))
                    await faults.one()
                    if time.monotonic() >= until:
                        break
                await stand.rest_and_sample()
        return outcome(
            stand,
            seed=seed,
            seconds=round(time.monotonic() - began),
            acts=dict(load.done),
            faults=dict(faults.done),
        )
