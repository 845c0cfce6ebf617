"""What a process test stands on: a broker file, a ledger, worker processes, and the program opened as a producer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskq import BoundCall, Job, TaskQ
from taskq.broker.amqp.broker import AmqpBroker
from taskq.broker.protocol import Broker
from taskq.wire.dead import DeadLetter
from taskq.wire.ids import new_job_id
from tests.support.ladder import in_ladder, levels_of, make_ladder
from tests.support.ledger import (
    Dead,
    Ended,
    FinalState,
    History,
    Kind,
    Left,
    Outcome,
    Pen,
    Report,
    Started,
    check,
    read_history,
)
from tests.support.program import LEDGER, app
from tests.support.waiting import eventually
from tests.support.workers import Workers

MANY = 10_000
_LOOKS = 4  # in a row, a tenth of a second apart: longer than a settle takes
_ON_THE_WAY_S = 10.0  # how long a busy broker may take from one of its queues to the next


def environment(folder: Path, url: str | None = None) -> dict[str, str]:
    """Return what the environment of every process of a test says; ``folder`` is the test's own.

    ``url``: an empty broker; without one, a file in the folder.
    """
    return {
        "TASKQ_URL": url or f"sqlite:///{folder / 'broker.db'}",
        "TASKQ_LOG_FORMAT": "json",
        LEDGER: str(folder / "ledger"),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A test's own broker, ledger and workers. ``app`` is open in the test's process."""

    folder: Path
    app: TaskQ[object]
    workers: Workers
    pen: Pen

    @property
    def broker(self) -> Broker:
        """The app's broker."""
        return self.app.connection.broker

    @property
    def embedded(self) -> bool:
        """Whether the broker is the embedded one, which knows all about its queues."""
        return not isinstance(self.broker, AmqpBroker)

    async def prepare_delays(self) -> None:
        """Make what the first delay on a new broker would make."""
        if not self.embedded:
            await make_ladder(self.app.settings().url)

    def gate(self, name: str = "gate") -> Path:
        """Return a path where no file is yet; ``touch`` it to let the jobs at it end."""
        return self.folder / name

    # Producing, with every step in the ledger.

    async def enqueue(self, call: BoundCall[Any]) -> Job:
        """Enqueue a call under an id that is in the ledger before anything is sent."""
        chosen = self.announce(call)
        (job,) = await self.app.enqueue_many([chosen])
        self.pen.confirmed(job.id)
        return job

    async def enqueue_all(self, calls: Iterable[BoundCall[Any]]) -> list[Job]:
        """Enqueue many calls, each like :meth:`enqueue`."""
        return list(await asyncio.gather(*map(self.enqueue, calls)))

    def announce(self, call: BoundCall[Any]) -> BoundCall[Any]:
        """Write down that a call is about to be sent, and return it with its id and its ETA fixed."""
        options = call.options
        job_id = options.job_id or new_job_id()
        policy = call.definition.retry
        eta = None if options.at is None else options.at.timestamp()
        assert options.delay is None, "use `at`: the ledger wants the very instant"
        self.pen.wanted(job_id, attempts=policy.attempts if policy else 1, not_before=eta)
        return call.with_options(job_id=job_id)

    # Looking.

    @property
    def history(self) -> History:
        """What all processes have written down so far."""
        return read_history(self.folder / "ledger")

    def starts(self, job: str) -> list[Started]:
        """Return the executions of a job so far."""
        return [start for start in self.history.of(Started) if start.job == job]

    def returned(self) -> set[str]:
        """Return the jobs that have returned so far."""
        return {end.job for end in self.history.of(Ended) if end.outcome is Outcome.RETURNED}

    def ends(self, pid: int) -> list[Ended]:
        """Return the ends of executions in one worker process."""
        return list(read_history(self.folder / "ledger", pid=pid).of(Ended))

    def running(self, pid: int) -> set[str]:
        """Return the jobs that one worker process runs now."""
        own = read_history(self.folder / "ledger", pid=pid)
        return {start.job for start in own.of(Started)} - {end.job for end in own.of(Ended)}

    async def until(self, condition: Callable[[], object], what: str, *, within_s: float = 20.0) -> None:
        """Wait for a condition on the ledger or the workers, and show their logs when it does not come."""
        await eventually(condition, what, within_s=within_s, detail=self._logs)

    async def until_started(self, job: str, *, times: int = 1, within_s: float = 20.0) -> Started:
        """Wait until an execution of a job began, and return it."""
        await self.until(lambda: len(self.starts(job)) >= times, f"{job} started {times} times", within_s=within_s)
        return self.starts(job)[times - 1]

    async def until_returned(self, number: int, *, within_s: float = 60.0) -> None:
        """Wait until so many jobs have returned, looking seldom, since that reads the whole ledger."""

        def returned() -> bool:
            return len(self.returned()) >= number

        what = f"{number} jobs have returned"
        await eventually(returned, what, within_s=within_s, look_s=0.25, detail=self._logs)

    async def until_at_rest(self, *, within_s: float = 30.0) -> None:
        """Wait until no work queue holds anything.

        RabbitMQ does not tell what is unsettled, nor what is on its way from one queue to the next: there, no worker
        may run a job, it has to be so for a while, and a job that nothing accounts for is waited for.
        """
        await self._until_empty(within_s)
        if self.embedded:
            return
        missed_since = time.monotonic()
        while (await self.report()).of(Kind.LOST) and time.monotonic() < missed_since + _ON_THE_WAY_S:
            await self._until_empty(within_s)

    async def _until_empty(self, within_s: float) -> None:
        looks = 1 if self.embedded else _LOOKS
        held = ""

        async def empty() -> bool:
            nonlocal looks, held
            held = await self._held()
            looks = looks - 1 if not held else _LOOKS
            return looks <= 0

        await eventually(
            empty, "all queues are empty", within_s=within_s, look_s=0.1, detail=lambda: f"{held}\n{self._logs()}"
        )

    async def dead(self, queue: str) -> list[DeadLetter]:
        """Return the dead letters of a queue."""
        return await self.app.dead_letters.list(queue, limit=MANY)

    async def report(self, *, settle_within_s: float = 2.0) -> Report:
        """Compare the ledger with the broker as it is now; ``settle_within_s`` as in :func:`check`."""
        return check(self.history, await self._final_state(), settle_within_s=settle_within_s)

    async def _held(self) -> str:
        """Say what the queues hold; nothing when they are empty."""
        held = [str(state) for state in await self._work_queues() if state.ready or state.unsettled or state.delayed]
        if isinstance(self.broker, AmqpBroker):
            held += [f"{name}: {ready}" for name, ready in (await levels_of(self.broker)).items()]
            living = [worker.pid for worker in self.workers.all if worker.status is None]
            held += [f"worker {pid} runs {', '.join(jobs)}" for pid in living if (jobs := self.running(pid))]
        return "; ".join(held)

    async def _final_state(self) -> FinalState:
        dead: list[Dead] = []
        left: list[Left] = []
        for state in await self._work_queues():
            for letter in await self.dead(state.name):
                dead.append(Dead(letter.job_id, state.name, letter.reason, letter.died_at))
            ready = await self.app.connection.broker.inspector.browse(state.name, limit=MANY)
            left += [Left(state.name, message.correlation_id) for message in ready]
            if state.unsettled or state.delayed:
                left.append(Left(state.name, count=(state.unsettled or 0) + (state.delayed or 0)))
        if isinstance(self.broker, AmqpBroker) and (delayed := await in_ladder(self.broker)):
            left.append(Left("the delay ladder", count=delayed))
        return FinalState(tuple(dead), tuple(left))

    async def _work_queues(self) -> list[Any]:
        return [state for state in await self.app.queues() if not state.name.endswith(".dead")]

    def _logs(self) -> str:
        return "\n".join(f"--- worker {worker.pid}\n{worker.output[-4000:]}" for worker in self.workers.all)


@asynccontextmanager
async def staged(folder: Path, variables: Mapping[str, str]) -> AsyncIterator[Stage]:
    """Open a stage in ``folder``; the process's own environment holds ``variables`` already."""
    (folder / "ledger").mkdir()
    workers, pen = Workers(folder, variables), Pen(folder / "ledger")
    try:
        async with app:
            yield Stage(folder=folder, app=app, workers=workers, pen=pen)
    finally:
        workers.close()
        pen.close()
