"""What happens in the life of jobs and workers, as frozen values, and the emitter that hands them to listeners.

Modules emit; only :mod:`taskq.observability` words log lines. Users listen with ``@app.on(JobDead)``. Durations are
seconds, instants are seconds since the epoch.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, TypeVar, dataclass_transform

from taskq.errors import DeclarationError

Kind = TypeVar("Kind", bound="Event")


@dataclass_transform(eq_default=False, frozen_default=True, kw_only_default=True)
class Event:
    """The root of all events: frozen values, equal when they are of one class and all their fields are equal.

    No dataclasses: what these write for each of forty classes takes a worker 10 ms of its start. ``field_names``: in
    their order, those of the class that it extends first.
    """

    field_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.field_names = (*cls.field_names, *cls.__annotations__)

    def __init__(self, **values: object) -> None:
        if values.keys() != set(self.field_names):
            raise TypeError(f"{type(self).__name__} has the fields {self.field_names}, given were {tuple(values)}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name!r} of an event cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name!r} of an event cannot be deleted")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self._values()))

    def __repr__(self) -> str:
        named = zip(self.field_names, self._values(), strict=True)
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in named)})"

    def _values(self) -> list[object]:
        return [self.__dict__[name] for name in self.field_names]


class JobEvent(Event):
    """Something that happened to one job. ``task`` is ``None`` where the message names none that can be run."""

    job_id: str
    task: str | None
    queue: str


class JobEnqueued(JobEvent):
    """The broker confirmed a job of this process. ``not_before``: its ETA, if it is delayed."""

    not_before: float | None


class ExecutionEvent(JobEvent):
    """Something that happened to one execution of a job."""

    attempt: int
    execution: int


class JobStarted(ExecutionEvent):
    """A worker starts to run the job. ``waited_s``: since the enqueue, where that is known."""

    waited_s: float | None


class ExecutionEnded(ExecutionEvent):
    """An execution ended and its delivery was settled. ``duration_s`` is the time in the task."""

    duration_s: float


class JobSucceeded(ExecutionEnded):
    """The task returned. ``replied``: whether a result was sent to a caller."""

    replied: bool


class JobRetried(ExecutionEnded):
    """The attempt failed with ``error`` (one line); attempt ``attempt + 1`` of ``attempts`` starts after ``wait_s``."""

    attempts: int
    wait_s: float
    error: str


class JobDead(ExecutionEnded):
    """The job became a dead letter: see :class:`taskq.DeadReason` for ``reason``; ``error`` is one line."""

    reason: str
    error: str
    traceback: str


class JobSnoozed(ExecutionEnded):
    """The task put its job off for ``wait_s``; it counts no attempt."""

    wait_s: float


class EventDropped(ExecutionEnded):
    """A temporary subscription did not get through an event, which is gone: only durable ones are tried again."""

    reason: str
    error: str
    traceback: str


class JobExpired(ExecutionEnded):
    """The job was not run: its time to start was over."""


class JobHandedBack(ExecutionEnded):
    """A shutdown cut the job; it starts again elsewhere with the same attempt number."""


class DeliveryLost(ExecutionEnded):
    """The delivery was no longer ours when it was to be settled; the broker has given it to somebody else."""


class SettleFailed(JobEvent):
    """An execution ended, but the broker refuses to take note of it; the worker tries again until it does."""

    error: str


class ThreadOverran(ExecutionEvent):
    """The job's time is over but its thread still runs: it keeps its slot until it ends."""

    timeout_s: float


class JobIsolated(JobEvent):
    """The job was in flight at ``deaths`` deaths of workers: it runs alone, when ``running`` others have ended.

    Until it has ended, this worker takes no other job.
    """

    deaths: int
    running: int


class IsolationEnded(JobEvent):
    """The worker takes other jobs again though the job was to run alone, and has not ended: for that ``reason``."""

    reason: str


class JobGivenBack(JobEvent):
    """The job came to a worker that runs another one alone, or stops: it goes back into its queue, and was not run.

    On RabbitMQ it is a copy that goes back, to the end of the queue, before the job is acknowledged.
    """


class OwnQueueAwaited(JobEvent):
    """A task waits for a job of its own queue while it holds the queue's only slot in this worker."""

    by_task: str


class ReplyDropped(Event):
    """A reply that nobody waits for (any more): late, repeated or unknown."""

    correlation_id: str | None
    reason: str


class EventPublished(Event):
    """The broker confirmed an event of this process."""

    event_id: str
    exchange: str
    key: str


class EventUnreadable(Event):
    """A listener left out an event that is not in its exchange's declared type."""

    exchange: str
    key: str
    error: str


class BindingLeft(Event):
    """A durable subscription's queue is still bound in a way that the program no longer declares."""

    queue: str
    exchange: str
    key: str


class AppOpened(Event):
    """An app connected to its broker. ``label`` is the broker's URL for people.

    ``by_default``: nobody set a URL. ``interactive``: a person watches (standard error is a terminal).
    """

    app: str
    label: str
    by_default: bool
    interactive: bool


class WorkerStarted(Event):
    """A worker consumes. ``queues`` maps each to its concurrency."""

    app: str
    pid: int
    queues: Mapping[str, int]


class WorkerStopping(Event):
    """A worker takes no more jobs; ``running`` ones have ``grace_s`` to end."""

    reason: str
    running: int
    grace_s: float


class WorkerStopped(Event):
    """A worker ended. ``executed`` counts executions, ``dead`` dead letters; ``threads`` still run."""

    executed: int
    dead: int
    threads: int


class LoopBlocked(Event):
    """Something blocks the event loop, for ``seconds`` so far; ``stack`` shows what. Emitted from a thread."""

    seconds: float
    stack: str


class ChildExited(Event):
    """A supervised worker process ended and is started again after ``restart_in_s`` (``None``: it is not)."""

    pid: int
    status: int
    restart_in_s: float | None


class HookFailed(Event):
    """A listener raised; the job that it listened to is not touched by that."""

    listener: str
    error: BaseException


class BrokerEvent(Event):
    """Something that happened to the broker, or on the way to it. ``label`` is the broker's URL for people."""


class BrokerConnected(BrokerEvent):
    """A connection to the broker is there. ``role``: "publish" or "consume". ``again``: after a loss."""

    label: str
    role: str
    again: bool


class BrokerLost(BrokerEvent):
    """A connection to the broker was lost; it is opened again, with pauses of less than a second."""

    label: str
    role: str
    reason: str


class BrokerAlarmed(BrokerEvent):
    """The broker takes no publishes for now; ``reason`` is its own word for it (disk, memory)."""

    label: str
    reason: str


class BrokerAlarmEnded(BrokerEvent):
    """The broker takes publishes again."""

    label: str


class BrokerGone(BrokerEvent):
    """The broker is of no use to this process any more: its file was deleted, moved or replaced. A worker ends.

    ``reason`` says what happened, and what to do.
    """

    label: str
    reason: str


class ConsumerInterrupted(BrokerEvent):
    """Nothing is consumed from ``queue`` for now: its consumer or channel was ended, or its file takes nothing.

    It is tried again until it goes. It comes once for each ``reason``: another one may show when that is tried.
    """

    queue: str
    reason: str


class ConsumerResumed(BrokerEvent):
    """``queue`` is consumed again after an interruption."""

    queue: str


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

    def decorator(self, kind: type[Kind]) -> Callable[[Callable[[Kind], Any]], Callable[[Kind], Any]]:
        """Return what has a function listen to ``kind``. Raises :class:`DeclarationError` for what is no event."""
        if not (isinstance(kind, type) and issubclass(kind, Event)):
            raise DeclarationError(f"@app.on({kind!r}): name the event to listen to, as in @app.on(JobDead)")

        def add(listener: Callable[[Kind], Any]) -> Callable[[Kind], Any]:
            self.on(kind, listener)
            return listener

        return add

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
