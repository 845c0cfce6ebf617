"""A worker: consumers on queues, an asyncio task for each execution, and an orderly end.

Shutdown. Stop taking jobs, and give back what was to run alone and has not begun; let the running ones end within the
grace time; cut the rest and hand them back; close the consumers, which gives back whatever is left. A second signal
skips the rest of the grace. Executions are deliberately not in a ``TaskGroup``: one that cannot be ended (a thread, a
coroutine that swallows its cancellation) must not hold the exit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from os import getpid
from typing import Any, NamedTuple

from taskq.broker.protocol import Consumer, Delivery
from taskq.errors import BrokerUnreachable
from taskq.lifecycle import BrokerGone, WorkerStarted, WorkerStopped, WorkerStopping
from taskq.worker.burst import is_drained
from taskq.worker.execute import Attempt
from taskq.worker.isolation import Isolation
from taskq.worker.pipeline import Pipeline
from taskq.worker.watchdog import Watchdog

_CUT_S = 5.0  # how long executions have to hand their job back after they were cut
_BURST_POLL_S = 0.1


class WorkerOptions(NamedTuple):
    """How a worker runs. ``burst``: end when its queues are empty. ``max_jobs``: end after so many executions.

    At the limit it takes no more jobs and ends when the running ones have; those on their way to it by then still run.
    """

    app: str
    grace_s: float
    burst: bool = False
    max_jobs: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker did. ``left_behind`` counts threads and coroutines that could not be ended."""

    executed: int
    dead: int
    left_behind: int


class Worker:
    """Consumes the queues of ``pipeline.slots`` until it is stopped. It runs once.

    ``started`` is set when it consumes. ``beside`` is run once then, and ends with it at the latest.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        options: WorkerOptions,
        lifespan: Callable[[], AbstractAsyncContextManager[Any]],
        beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._options = options
        self._lifespan: Callable[[], AbstractAsyncContextManager[Any]] = lifespan
        self._beside = beside
        self.started = asyncio.Event()
        self._running: dict[asyncio.Task[None], tuple[Attempt, Delivery]] = {}
        self._own_task: asyncio.Task[Any] | None = None
        pipeline.tally.limit = options.max_jobs
        self._overrunning: set[asyncio.Future[Any]] = set()
        self._isolation = Isolation(pipeline, self._running, self._begin, self._fail)
        self._failed: BaseException | None = None
        self._stopping = asyncio.Event()
        self._cut = asyncio.Event()
        self._reason = ""

    @property
    def slots(self) -> Mapping[str, int]:
        """The queues that it consumes, with their concurrency; temporary ones under their subscription's name."""
        temporary = self._pipeline.catalogue.temporary
        return {
            f"{temporary[name].label} (temporary)" if name in temporary else name: number
            for name, number in self._pipeline.slots.items()
        }

    @property
    def queues(self) -> frozenset[str]:
        """The names of the queues that it consumes, as the broker has them."""
        return frozenset(self._pipeline.slots)

    @property
    def running(self) -> int:
        """How many executions it is at, from their delivery to their last event."""
        return len(self._running)

    @property
    def _busy(self) -> bool:
        return bool(self._running) or self._isolation.busy

    def use_state(self, state: Any) -> None:
        """Give tasks ``state`` instead of what the lifespan yields, which is not run then. Only before :meth:`run`."""
        self._lifespan = partial(nullcontext, state)

    def stop(self, reason: str) -> None:
        """Begin the shutdown; a second call cuts the grace time short."""
        if self._stopping.is_set():
            self._cut.set()
        else:
            self._reason = reason
            self._stopping.set()

    async def run(self) -> WorkerReport:
        """Work until :meth:`stop`, the end of a burst, or the job limit, then shut down in order.

        Cancelling it shuts down without grace; it can be cancelled again to end that too, and what still runs then
        counts as killed. Raises what the lifespan raises, and a :class:`BrokerError` when the consumers cannot be
        opened, or the broker is gone for good (a file that was deleted, moved or replaced).
        """
        pipeline = self._pipeline
        self._own_task = asyncio.current_task()
        async with AsyncExitStack() as stack:
            pipeline.state = await stack.enter_async_context(self._lifespan())
            if pipeline.processes is not None:
                stack.callback(pipeline.processes.close)
            stack.callback(pipeline.limits.close)
            stack.enter_context(Watchdog(pipeline.emitter))
            stack.enter_context(pipeline.emitter.listening(BrokerGone, self._broker_gone))
            consumers: dict[str, Consumer] = {}
            try:
                for queue, prefetch in sorted(pipeline.slots.items()):
                    consumers[queue] = await self._open(stack, queue, prefetch)
                self._isolation.use(consumers)
                pipeline.emitter.emit(WorkerStarted(app=self._options.app, pid=getpid(), queues=self.slots))
                self.started.set()
                stack.push_async_callback(self._begin_beside())
                await self._until_stopped()
            except BaseException as error:
                self._reason = self._reason or _why(error)
                self._cut.set()
                raise
            finally:
                await self._shut_down_whole(consumers.values())
        report = self._report()
        tally = pipeline.tally
        pipeline.emitter.emit(WorkerStopped(executed=tally.executed, dead=tally.dead, threads=report.left_behind))
        if self._failed is not None:
            raise self._failed
        return report

    def _begin_beside(self) -> Callable[[], Coroutine[Any, Any, None]]:
        """Begin what goes on beside the work, and return what ends it."""
        task = None if self._beside is None else asyncio.create_task(self._beside(), name="taskq: beside the work")

        async def end() -> None:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        return end

    async def _open(self, stack: AsyncExitStack, queue: str, prefetch: int) -> Consumer:
        broker, temporary = self._pipeline.broker, self._pipeline.catalogue.temporary.get(queue)
        if temporary is None:
            consumer = await broker.consume(queue, prefetch=prefetch, deliver=self._deliver)
        else:
            consumer = await broker.subscribe(temporary, prefetch=prefetch, deliver=self._deliver)
        stack.push_async_callback(consumer.close)
        return consumer

    def _deliver(self, delivery: Delivery) -> None:
        if delivery.redeliveries < self._isolation.looks_from or not self._isolation.takes(delivery):
            self._begin(delivery)

    def _begin(self, delivery: Delivery) -> asyncio.Task[None]:
        attempt = Attempt(self._own_task)
        task = asyncio.get_running_loop().create_task(self._pipeline.handle(delivery, attempt))
        self._running[task] = attempt, delivery
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        attempt, _ = self._running.pop(task)
        if attempt.thread is not None and attempt.overruns:
            self._overrunning.add(attempt.thread)
            attempt.thread.add_done_callback(self._overrunning.discard)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
        if self._pipeline.tally.full and not self._running and not self._stopping.is_set():
            self.stop(f"{self._options.max_jobs} jobs executed")

    def _fail(self, error: BaseException) -> None:
        """End loudly, because of a bug of ours; the broker gives the jobs to others."""
        self._failed = error
        self.stop(f"an execution failed inside the worker: {error!r}")

    def _broker_gone(self, event: BrokerGone) -> None:
        self._failed = BrokerUnreachable(event.reason)
        self.stop("the broker is gone")

    async def _until_stopped(self) -> None:
        if not self._options.burst:
            await self._stopping.wait()
        while not self._stopping.is_set():
            # Looked at again after the question: a job that was on its way to us then is here now.
            if not self._busy and await is_drained(self._pipeline) and not self._busy:
                self.stop("the queues are empty")
            else:
                await _first(self._stopping.wait(), asyncio.sleep(_BURST_POLL_S))

    async def _shut_down_whole(self, consumers: Iterable[Consumer]) -> None:
        """Shut down. Cancelling it ends the grace, as a second signal does; cancelling it again leaves it undone."""
        shutdown = asyncio.create_task(self._shut_down(consumers), name="taskq: shutdown")
        try:
            await asyncio.shield(shutdown)
        except asyncio.CancelledError:
            self._cut.set()
            await shutdown
            raise

    async def _shut_down(self, consumers: Iterable[Consumer]) -> None:
        grace_s = 0.0 if self._cut.is_set() else self._options.grace_s
        self._pipeline.emitter.emit(WorkerStopping(reason=self._reason, running=len(self._running), grace_s=grace_s))
        await self._isolation.end(asyncio.gather(*(consumer.stop() for consumer in consumers)))
        if grace_s:
            await _first(self._cut.wait(), self._all_ended(grace_s))
        for attempt, _ in list(self._running.values()):
            attempt.interrupt()
        await self._all_ended(_CUT_S)
        await self._hand_back_stuck()
        await asyncio.gather(*(consumer.close() for consumer in consumers))  # each may wait for a broker that is stuck

    async def _hand_back_stuck(self) -> None:
        """Hand back the jobs of coroutines that swallow their cancellation; closing would count it as a death.

        One whose code has ended is being settled: the broker is slow, and takes note of it when it can.
        """
        running = self._running.values()
        stuck = [self._pipeline.hand_back(delivery, attempt) for attempt, delivery in running if attempt.runs]
        with suppress(TimeoutError):
            async with asyncio.timeout(_CUT_S):
                await asyncio.gather(*stuck)

    async def _all_ended(self, timeout_s: float) -> None:
        if self._running:
            await asyncio.wait(set(self._running), timeout=timeout_s)

    def _report(self) -> WorkerReport:
        tally = self._pipeline.tally
        return WorkerReport(tally.executed, tally.dead, len(self._running) + len(self._overrunning))


def _why(error: BaseException) -> str:
    return "cancelled" if isinstance(error, asyncio.CancelledError) else f"it failed: {error!r}"


async def _first(*waits: Any) -> None:
    """Return when the first of several waits ends, and cancel the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
