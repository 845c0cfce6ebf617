"""The program at work in this process: app, worker and actors, which can be brought to rest to take a sample."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from taskq import TaskQ
from taskq.errors import BrokerError
from taskq.lifecycle import BrokerConnected, BrokerLost, Event, ReplyDropped
from taskq.worker.worker import Worker
from tests.endurance import program
from tests.endurance.brokers import Ground
from tests.endurance.watch import Watch
from tests.support.waiting import eventually

QUEUES = ("work", "calls", "hangs", "kept")
REST_S = 120.0
_LOGGERS = ("taskq", "aio_pika", "aiormq")
_SETTLED_S = 0.05  # a broker is a moment behind: the channel of the last look is still there

Act = Callable[[], Awaitable[object]]


class Stand:
    """One run. ``troubles`` counts the errors of the broker that actors met, by type, and ``told`` events. ``lost_at``:
    when a connection was lost last (monotonic).
    """

    def __init__(self, ground: Ground, app: TaskQ[Any], worker: Worker, watch: Watch) -> None:
        self.ground = ground
        self.app = app
        self.worker = worker
        self.watch = watch
        self.troubles: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.lost_at = 0.0
        self._numbers = 0
        self._go = asyncio.Event()
        self._go.set()
        self._resting = asyncio.Event()
        self._busy = 0
        app.on(Event)(self._note)

    @property
    def numbers(self) -> int:
        """How many numbers of noted jobs were given out."""
        return self._numbers

    def number(self) -> int:
        """Return the next number for a noted job."""
        self._numbers += 1
        return self._numbers - 1

    def back(self, role: str) -> int:
        """How often a connection came back."""
        return self.told[f"back to {role}"]

    async def note(self, task: Any) -> None:
        """Enqueue one of the tasks that note that they ran."""
        number = self.number()
        await task.enqueue(number)
        program.confirmed[number] = 1

    async def act(self, once: Act, *, pause_s: float = 0.0) -> None:
        """Do the same again and again, but for rests. Errors of the broker are counted; others end the run."""
        while True:
            await self._go.wait()
            self._busy += 1
            try:
                await once()
            except BrokerError as error:
                self.troubles[type(error).__name__] += 1
            with suppress(TimeoutError):  # a rest ends the pause: its timer would be counted
                async with asyncio.timeout(pause_s):
                    await self._resting.wait()
            self._busy -= 1

    async def rest_and_sample(self) -> None:
        """Let all that is under way end, take a sample, and go on."""
        self._go.clear()
        self._resting.set()
        try:
            await eventually(self._is_at_rest, "all is at rest", within_s=REST_S, look_s=0.05, detail=self._state)
            self.watch.sample()
        finally:
            self._resting.clear()
            self._go.set()

    async def _is_at_rest(self) -> bool:
        if self._busy or self.worker.running or len(self.app.connection.replies):
            return False
        try:
            await asyncio.gather(*(self.app.dead_letters.drop(queue) for queue in QUEUES))
            states = await self.app.queues()
        except BrokerError:
            return False
        if any(state.ready or state.unsettled or state.delayed for state in states):
            return False
        await asyncio.sleep(_SETTLED_S)
        before = self.ground.census()
        if before.get("broker's messages") or before.get("broker's unacked messages") or before.get("rows of message"):
            return False
        await asyncio.sleep(_SETTLED_S)
        still = _counts(self.ground.census()) == _counts(before)
        return still and not self._busy and not self.worker.running

    def _state(self) -> object:
        pending = len(self.app.connection.replies)
        return f"{self._busy} acts, {self.worker.running} jobs, {pending} replies, {self.ground.census()}"

    def _note(self, event: Event) -> None:
        self.told[type(event).__name__] += 1
        if isinstance(event, BrokerLost):
            self.lost_at = time.monotonic()
        if isinstance(event, BrokerConnected) and event.again:
            self.told[f"back to {event.role}"] += 1
        if isinstance(event, ReplyDropped):
            self.told[f"dropped: {event.reason}"] += 1


def _counts(census: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in census.items() if not name.endswith("KiB")}


@asynccontextmanager
async def at_work(ground: Ground, watch: Watch, **settings: Any) -> AsyncIterator[Stand]:
    """Open the app and run its worker beside the block."""
    app = program.new_app(ground.url, **settings)
    with _quiet():
        async with app:
            worker = app.worker(grace=5)
            stand = Stand(ground, app, worker, watch)
            async with asyncio.TaskGroup() as group:
                working = group.create_task(worker.run())
                await worker.started.wait()
                try:
                    yield stand
                finally:
                    worker.stop("the run is over")
                await working


@contextmanager
def _quiet() -> Iterator[None]:
    """Log nothing: all that goes wrong goes wrong on purpose, and records that somebody keeps would be counted."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@asynccontextmanager
async def acting(stand: Stand, *acts: tuple[Act, float]) -> AsyncIterator[None]:
    """Have actors act beside the block, each with the pause between two acts in seconds."""
    async with asyncio.TaskGroup() as group:
        actors = [group.create_task(stand.act(once, pause_s=pause_s)) for once, pause_s in acts]
        yield
        for actor in actors:
            actor.cancel()
