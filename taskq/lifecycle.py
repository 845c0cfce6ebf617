"""What happens in the life of jobs and workers, as frozen values, and the emitter that hands them to listeners.

Modules emit; only :mod:`taskq.observability` words log lines. Users listen with ``@app.on(JobDead)``. Durations are
seconds, instants are seconds since the epoch.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeVar, dataclass_transform

Kind = TypeVar("Kind", bound="Event")


EventClass = TypeVar("EventClass")


@dataclass_transform(eq_default=False, frozen_default=True, kw_only_default=True)
def _event(cls: type[EventClass]) -> type[EventClass]:
    """Make a frozen value of it. Comparison and text are those of :class:`Event`: one of each costs a start less."""
    return dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)(cls)


@_event
class Event:
    """The root of all events: values, equal when they are of one class and all their fields are equal."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), *self._values()))

    def __repr__(self) -> str:
        named = zip(self._names(), self._values(), strict=True)
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in named)})"

    def _names(self) -> list[str]:
        return [field.name for field in fields(self)]

    def _values(self) -> list[object]:
        return [getattr(self, name) for name in self._names()]


@_event
class JobEvent(Event):
    """Something that happened to one job. ``task`` is ``None`` where the message names none that can be run."""

    job_id: str
    task: str | None
    queue: str


@_event
class JobEnqueued(JobEvent):
    """The broker confirmed a job of this process. ``not_before``: its ETA, if it is delayed."""

    not_before: float | None


@_event
class ExecutionEvent(JobEvent):
    """Something that happened to one execution of a job."""

    attempt: int
    execution: int


@_event
class JobStarted(ExecutionEvent):
    """A worker starts to run the job. ``waited_s``: since the enqueue, where that is known."""

    waited_s: float | None


@_event
class ExecutionEnded(ExecutionEvent):
    """An execution ended and its delivery was settled. ``duration_s`` is the time in the task."""

    duration_s: float


@_event
class JobSucceeded(ExecutionEnded):
    """The task returned. ``replied``: whether a result was sent to a caller."""

    replied: bool


@_event
class JobRetried(ExecutionEnded):
    """The attempt failed with ``error`` (one line); attempt ``attempt + 1`` of ``attempts`` starts after ``wait_s``."""

    attempts: int
    wait_s: float
    error: str


@_event
class JobDead(ExecutionEnded):
    """The job became a dead letter: see ``taskq.wire.dead.DeadReason`` for ``reason``; ``error`` is one line."""

    reason: str
    error: str
    traceback: str


@_event
class JobSnoozed(ExecutionEnded):
    """The task put its job off for ``wait_s``; it counts no attempt."""

    wait_s: float


@_event
class EventDropped(ExecutionEnded):
    """A temporary subscription did not get through an event, which is gone: only durable ones are tried again."""

    reason: str
    error: str
    traceback: str


@_event
class JobExpired(ExecutionEnded):
    """The job was not run: its time to start was over."""


@_event
class JobHandedBack(ExecutionEnded):
    """A shutdown cut the job; it starts again elsewhere with the same attempt number."""


@_event
class DeliveryLost(ExecutionEnded):
    """The delivery was no longer ours when it was to be settled; the broker has given it to somebody else."""


@_event
class SettleFailed(JobEvent):
    """An execution ended, but the broker refuses to take note of it; the worker tries again until it does."""

    error: str


@_event
class ThreadOverran(ExecutionEvent):
    """The job's time is over but its thread still runs: it keeps its slot until it ends."""

    timeout_s: float


@_event
class JobIsolated(JobEvent):
    """The job was in flight at ``deaths`` deaths of workers: it runs alone, when ``running`` others have ended.

    Until it has ended, this worker takes no other job.
    """

    deaths: int
    running: int


@_event
class IsolationEnded(JobEvent):
    """The worker takes other jobs again though the job was to run alone, and has not ended: for that ``reason``."""

    reason: str


@_event
class JobGivenBack(JobEvent):
    """The job came to a worker that runs another one alone, or stops: it goes back into its queue, and was not run.

    On RabbitMQ it is a copy that goes back, to the end of the queue, before the job is acknowledged.
    """


@_event
class OwnQueueAwaited(JobEvent):
    """A task waits for a job of its own queue while it holds the queue's only slot in this worker."""

    by_task: str


@_event
class ReplyDropped(Event):
    """A reply that nobody waits for (any more): late, repeated or unknown."""

    correlation_id: str | None
    reason: str


@_event
class EventPublished(Event):
    """The broker confirmed an event of this process."""

    event_id: str
    exchange: str
    key: str


@_event
class EventUnreadable(Event):
    """A listener left out an event that is not in its exchange's declared type."""

    exchange: str
    key: str
    error: str


@_event
class BindingLeft(Event):
    """A durable subscription's queue is still bound in a way that the program no longer declares."""

    queue: str
    exchange: str
    key: str


@_event
class AppOpened(Event):
    """An app connected to its broker. ``label`` is the broker's URL for people.

    ``by_default``: nobody set a URL. ``interactive``: a person watches (standard error is a terminal).
    """

    app: str
    label: str
    by_default: bool
    interactive: bool


@_event
class WorkerStarted(Event):
    """A worker consumes. ``queues`` maps each to its concurrency."""

    app: str
    pid: int
    queues: Mapping[str, int]


@_event
class WorkerStopping(Event):
    """A worker takes no more jobs; ``running`` ones have ``grace_s`` to end."""

    reason: str
    running: int
    grace_s: float


@_event
class WorkerStopped(Event):
    """A worker ended. ``executed`` counts executions, ``dead`` dead letters; ``threads`` still run."""

    executed: int
    dead: int
    threads: int


@_event
class LoopBlocked(Event):
    """Something blocks the event loop, for ``seconds`` so far; ``stack`` shows what. Emitted from a thread."""

    seconds: float
    stack: str


@_event
class ChildExited(Event):
    """A supervised worker process ended and is started again after ``restart_in_s`` (``None``: it is not)."""

    pid: int
    status: int
    restart_in_s: float | None


@_event
class HookFailed(Event):
    """A listener raised; the job that it listened to is not touched by that."""

    listener: str
    error: BaseException


@_event
class BrokerEvent(Event):
    """Something that happened to the broker, or on the way to it. ``label`` is the broker's URL for people."""


@_event
class BrokerConnected(BrokerEvent):
    """A connection to the broker is there. ``role``: "publish" or "consume". ``again``: after a loss."""

    label: str
    role: str
    again: bool


@_event
class BrokerLost(BrokerEvent):
    """A connection to the broker was lost; it is opened again, with pauses of less than a second."""

    label: str
    role: str
    reason: str


@_event
class BrokerAlarmed(BrokerEvent):
    """The broker takes no publishes for now; ``reason`` is its own word for it (disk, memory)."""

    label: str
    reason: str


@_event
class BrokerAlarmEnded(BrokerEvent):
    """The broker takes publishes again."""

    label: str


@_event
class BrokerGone(BrokerEvent):
    """The broker is of no use to this process any more: its file was deleted, moved or replaced. A worker ends.

    ``reason`` says what happened, and what to do.
    """

    label: str
    reason: str


@_event
class ConsumerInterrupted(BrokerEvent):
    """Nothing is consumed from ``queue`` for now: its consumer or channel was ended, or its file takes nothing.

    It is tried again until it goes. It comes once for each ``reason``: another one may show when that is tried.
    """

    queue: str
    reason: str


@_event
class ConsumerResumed(BrokerEvent):
    """``queue`` is consumed again after an interruption."""

    queue: str


@_event
class SubscriptionGap(BrokerEvent):
    """A temporary queue was lost with its connection and made again ``missing_s`` later: events in between are missed.

    ``subscription`` says what it is for.
    """

    subscription: str
    missing_s: float


class _Listening(NamedTuple):
    kind: type[Event]
    listener: Callable[[Any], Any]
    unless: Callable[[type[Event]], bool] | None


class Emitter:
    """Hands events to listeners. A listener never disturbs what it listens to; without listeners it costs a lookup."""

    def __init__(self) -> None:
        self._listeners: list[_Listening] = []
        self._by_type: dict[type[Event], tuple[_Listening, ...]] = {}
        self._running: set[asyncio.Task[None]] = set()

    def on(
        self,
        kind: type[Kind],
        listener: Callable[[Kind], Any],
        *,
        unless: Callable[[type[Event]], bool] | None = None,
    ) -> None:
        """Call ``listener`` (a function or a coroutine function) for events of ``kind`` and its subclasses.

        ``unless``: says of a kind of events, each time, that the listener would do nothing with it now.
        """
        self._listeners.append(_Listening(kind, listener, unless))
        self._by_type.clear()

    @contextmanager
    def listening(self, kind: type[Kind], listener: Callable[[Kind], Any]) -> Generator[None]:
        """Listen inside the block only."""
        self.on(kind, listener)
        try:
            yield
        finally:
            self._listeners.remove(_Listening(kind, listener, None))
            self._by_type.clear()

    def wants(self, kind: type[Event]) -> bool:
        """Say whether anybody listens to ``kind``, so that events need not be built for nobody."""
        found = self._by_type.get(kind)
        for each in self._for(kind) if found is None else found:  # a generator costs as much again, for every job
            if each.unless is None or not each.unless(kind):
                return True
        return False

    def emit(self, event: Event, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Give ``event`` to its listeners, in the order in which they were added.

        From another thread than the event loop's, ``loop`` says where coroutine listeners run; the others are called
        at once, on the calling thread.
        """
        for listening in self._for(type(event)):
            listener = listening.listener
            try:
                waiting = listener(event)
            except Exception as error:
                self._failed(event, listener, error, loop)
                continue
            if not inspect.iscoroutine(waiting):
                continue
            if loop is None:
                self._start(event, waiting, listener)
            else:
                loop.call_soon_threadsafe(self._start, event, waiting, listener)

    @property
    def busy(self) -> bool:
        """Whether a coroutine listener runs."""
        return bool(self._running)

    async def drain(self) -> None:
        """Wait until the coroutine listeners that were started have ended."""
        while self._running:
            await asyncio.wait(set(self._running))

    def _for(self, kind: type[Event]) -> tuple[_Listening, ...]:
        found = self._by_type.get(kind)
        if found is None:
            found = tuple(each for each in self._listeners if issubclass(kind, each.kind))
            self._by_type[kind] = found
        return found

    def _start(self, event: Event, waiting: Any, listener: Callable[[Any], Any]) -> None:
        async def guarded() -> None:
            try:
                await waiting
            except Exception as error:
                self._failed(event, listener, error)

        task = asyncio.get_running_loop().create_task(guarded())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _failed(
        self,
        event: Event,
        listener: Callable[[Any], Any],
        error: Exception,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not isinstance(event, HookFailed):
            self.emit(HookFailed(listener=getattr(listener, "__qualname__", repr(listener)), error=error), loop=loop)
