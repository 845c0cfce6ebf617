"""An app and its worker in one process, on a broker in memory, with time in the test's hands."""

from __future__ import annotations

import asyncio
import heapq
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Generic, Self

from typing_extensions import TypeVar as DefaultingTypeVar

from taskq.app.application import TaskQ
from taskq.app.connection import Backend
from taskq.broker.protocol import Broker
from taskq.lifecycle import Emitter, Event, JobEnqueued, JobRetried, JobSnoozed
from taskq.settings import Settings
from taskq.tasks.duration import Duration, seconds
from taskq.testing.clock import MovableClock
from taskq.wire.dead import DeadLetter
from taskq.worker.worker import Worker, WorkerReport

S = DefaultingTypeVar("S", default=object)
_OWN_LIFESPAN: Final = object()
_LOOK_S = 0.001


@dataclass(frozen=True, slots=True)
class _MemoryBackend(Backend):
    """A database in memory that no other app in this process shares."""

    def is_default(self, settings: Settings) -> bool:
        return False

    def connect(self, settings: Settings, app: str, emitter: Emitter) -> Broker:
        own = settings.model_copy(update={"url": f"memory://harness-{uuid.uuid4().hex}"})
        return super(_MemoryBackend, self).connect(own, app, emitter)


class Harness(Generic[S]):
    """``async with Harness(app) as h:`` opens the app and runs its worker beside the test.

    Everything is as in production but the broker's place (memory) and the clock: delays, backoffs and expiries pass
    only with :meth:`advance`. Time limits of tasks and the waits of callers are real. ``state`` stands for the workers'
    state; without it the app's own lifespan runs. ``concurrency`` holds for every queue. For an app of stubs alone no
    worker runs.

    ``events`` is the list of all lifecycle events so far; ``dead`` the dead letters as of the last :meth:`drain`.
    """

    def __init__(self, app: TaskQ[S], *, state: Any = _OWN_LIFESPAN, concurrency: int | None = None) -> None:
        self.app = app
        self.clock = MovableClock()
        self.events: list[Event] = []
        self.dead: list[DeadLetter] = []
        self._state = state
        self._concurrency = concurrency
        self._etas: list[float] = []
        self._worker: Worker | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.app.use_backend(_MemoryBackend(self.clock))
        async with AsyncExitStack() as stack:
            stack.callback(self.app.use_backend, Backend())
            stack.enter_context(self.app.emitter.listening(Event, self._note))
            await stack.enter_async_context(self.app)
            if self._work_queues() or self.app.registry().temporary():  # an app of stubs alone has nothing to work on
                self._worker = self._new_worker()
                await stack.enter_async_context(_Running(self._worker))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def drain(self, *, timeout: Duration = 30) -> None:
        """Return when no job is ready or running and no coroutine listener is at work; delayed jobs stay.

        Raises ``TimeoutError`` after ``timeout`` real seconds, with what is still there.
        """
        timeout_s = seconds(timeout, "timeout")
        try:
            async with asyncio.timeout(timeout_s):
                # The broker's tables tell it; nobody signals it.
                while await self._busy():  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            left = ", ".join(f"{q.name}: {q.ready} ready, {q.unsettled} running" for q in await self.app.queues())
            raise TimeoutError(f"jobs are still there after {timeout_s:g} s ({left})") from None
        self.dead = [
            letter for queue in self._work_queues() for letter in await self.app.dead_letters.list(queue, limit=10_000)
        ]

    async def advance(self, duration: Duration) -> None:
        """Let ``duration`` pass: what becomes due on the way runs at its own instant, in order."""
        end = self.clock.now() + seconds(duration, "duration")
        await self.drain()
        while self._etas and self._etas[0] <= end:
            eta = heapq.heappop(self._etas)
            self.clock.advance(max(0.0, eta - self.clock.now()))
            await self.drain()
        self.clock.advance(max(0.0, end - self.clock.now()))
        await self.drain()

    def _new_worker(self) -> Worker:
        worker = self.app.worker(concurrency=self._concurrency, grace=0)
        if self._state is not _OWN_LIFESPAN:
            worker.use_state(self._state)
        return worker

    def _work_queues(self) -> list[str]:
        return list(self.app.connection.registry.own_queues())

    async def _busy(self) -> bool:
        """Say whether something is ready or running, or a listener still works on what happened."""
        own = {*self._work_queues(), *(self._worker.queues if self._worker else ())}
        waits = any(q.ready or q.unsettled for q in await self.app.queues() if q.name in own)
        runs = self._worker is not None and self._worker.running > 0
        return waits or runs or self.app.emitter.busy

    def _note(self, event: Event) -> None:
        self.events.append(event)
        match event:
            case JobEnqueued(not_before=eta) if eta is not None:
                heapq.heappush(self._etas, eta)
            case JobRetried(wait_s=wait_s) | JobSnoozed(wait_s=wait_s):
                heapq.heappush(self._etas, self.clock.now() + wait_s)
            case _:
                pass


class _Running:
    """Runs a worker beside the block and stops it at the end."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._task: asyncio.Task[WorkerReport] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._worker.run())
        started = asyncio.create_task(self._worker.started.wait())
        await asyncio.wait({self._task, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._task.done():
            self._task.result()

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._worker.stop("the test ends")
        await self._task
