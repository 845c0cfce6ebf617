"""Running one attempt of a task: it returns an outcome as a value and never touches the broker.

Whose cancellation is it? Three parties can end a running task early: its time limit, the worker's shutdown, and its
own code. The time limit and the shutdown each set a flag before they cancel, which also tells a limit from a
``TimeoutError`` of the task's own; a ``CancelledError`` without either is the task's own and an error like
any other, unless the worker itself is being cancelled or has ended, as at the end of an event loop. Whatever a task
does when it is cut (return, raise, swallow), the cut is what counts: it did not end by itself. When a shutdown and the
time limit meet, the shutdown counts: the attempt starts again.

What a task asks for inside an ``ExceptionGroup``, as a ``TaskGroup`` raises it, is followed when the group holds
nothing else: a ``Reject`` before a ``Retry`` before a ``Snooze``. With another error in it, the group is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from taskq.errors import InvalidArguments, MessageTooLarge
from taskq.tasks.context import Context, Running
from taskq.tasks.control import Reject, Retry, Snooze
from taskq.tasks.definition import TaskDefinition
from taskq.tasks.duration import LONGEST_S
from taskq.timelimits import TimeLimits
from taskq.wire.dead import DeadReason
from taskq.wire.failure import Failure, message_of
from taskq.worker.outcome import (
    NO_RESULT,
    Interrupted,
    Outcome,
    Raised,
    Rejected,
    RetryAsked,
    Returned,
    SnoozeAsked,
    TimedOut,
    Unusable,
)
from taskq.worker.prepare import Prepared
from taskq.worker.threads import start_thread

if TYPE_CHECKING:
    from taskq.worker.processes import Processes

_WISHES = (Reject, Retry, Snooze)

Run = Callable[[], Awaitable[Any]]
Middleware = Callable[[Context[Any], Run], Awaitable[Any]]
"""``async def middleware(ctx, run)``: wraps executions; it awaits ``run()`` and returns its value, or another."""


class Attempt:
    """One running attempt. ``thread`` is what a sync task runs in; it may outlive the attempt.

    ``worker`` is the asyncio task of the worker, which is cancelled when everything is. ``began`` is on the monotonic
    clock, in seconds.
    """

    __slots__ = ("_expired", "_interrupted", "_running", "_worker", "began", "thread")

    def __init__(self, worker: asyncio.Task[Any] | None = None) -> None:
        self._worker = worker
        self.began = 0.0
        self.thread: asyncio.Future[Any] | None = None
        self._interrupted = False
        self._expired = False
        self._running: asyncio.Task[Any] | None = None

    @property
    def runs(self) -> bool:
        """Whether the task's own code is at work; before and after that it waits for us, or for the broker."""
        return self._running is not None

    @property
    def overruns(self) -> bool:
        """Whether the attempt is over but its thread is not."""
        return self.thread is not None and not self.thread.done()

    def interrupt(self) -> None:
        """Cut the attempt because the worker shuts down; one that did not begin yet never will. Harmless after its
        end, and twice.
        """
        if self._running is not None and not self._interrupted:
            self._running.cancel()
        self._interrupted = True

    def expire(self) -> None:
        """Cut the attempt because its time limit is over; harmless after its end."""
        if self._running is not None:
            self._expired = True
            self._running.cancel()

    async def run(self, call: Run, timeout_s: float, limits: TimeLimits) -> Value | Outcome:
        """Return the value of ``call``, or the outcome that stands in its place."""
        if self._interrupted:
            return Interrupted()
        current = asyncio.current_task()
        assert current is not None
        cancels_before = current.cancelling()
        self._running = current
        limits.begin(self, timeout_s)
        try:
            ended: Value | Outcome = Value(await call())
        except asyncio.CancelledError as error:
            if self._is_foreign(current.cancelling() - cancels_before):
                raise
            ended = Raised(error)
        except BaseException as error:  # a `SystemExit` would end the event loop
            ended = _steered(error)
        finally:
            self._running = None
            limits.end(self, timeout_s)
        while current.cancelling() > cancels_before:
            current.uncancel()
        return self._cut(timeout_s) or ended

    def _is_foreign(self, cancels: int) -> bool:
        """Say whether a cancellation came neither from here nor from the task, but with the end of everything."""
        return not self._interrupted and cancels > self._expired and self._all_ends()

    def _cut(self, timeout_s: float) -> Outcome | None:
        """Return what counts instead of how the task ended, where it was cut."""
        if self._interrupted:
            return Interrupted()
        return TimedOut(timeout_s) if self._expired else None

    def _all_ends(self) -> bool:
        """Say whether a cancellation that nobody here asked for came from outside, with the end of the worker."""
        return self._worker is None or self._worker.done() or self._worker.cancelling() > 0


class Value:
    """What a task returned, told from an outcome."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _steered(error: BaseException) -> Outcome:
    """Return what the task asked for. Its reason is the exception's text: of ours, of a subclass, of ``Reject(404)``.

    A subclass that sets no usable time is an error like any other.
    """
    match _asked(error):
        case Retry(after_s=after_s) as retry if after_s is None or _is_time(after_s):
            return RetryAsked(message_of(retry), after_s)
        case Snooze(delay_s=delay_s) if _is_time(delay_s):
            return SnoozeAsked(delay_s)
        case Reject() as reject:
            return Rejected(message_of(reject))
        case _:
            return Raised(error)


def _is_time(wait_s: object) -> bool:
    """Say whether a task can be put off by that; a subclass may have set anything."""
    return isinstance(wait_s, int | float) and 0 <= wait_s <= LONGEST_S


def _asked(error: BaseException) -> BaseException:
    """Return what a group that holds nothing but wishes of the task asks for first; any other error as it is."""
    leaves = _leaves(error)
    if not all(isinstance(leaf, _WISHES) for leaf in leaves):
        return error
    return min(leaves, key=lambda leaf: next(i for i, kind in enumerate(_WISHES) if isinstance(leaf, kind)))


def _leaves(error: BaseException) -> list[BaseException]:
    leaves: list[BaseException] = []
    parts = [error]  # groups may be nested deeper than Python recurses
    while parts:
        part = parts.pop()
        if isinstance(part, BaseExceptionGroup):
            parts += reversed(cast("BaseExceptionGroup[BaseException]", part).exceptions)
        else:
            leaves.append(part)
    return leaves


async def execute(
    prepared: Prepared,
    running: Running,
    attempt: Attempt,
    *,
    middleware: tuple[Middleware, ...],
    processes: Processes | None,
    limits: TimeLimits,
    max_result_bytes: int,
) -> Outcome:
    """Run a job's task once and return what came of it. The context variable is set by the caller."""
    definition, arguments = prepared.definition, prepared.arguments
    args = (running.context, *arguments.args) if definition.context else arguments.args
    run: Run = partial(definition.function, *args, **arguments.kwargs)
    if definition.run != "async":
        run = partial(_elsewhere, prepared, run, attempt, processes)
    for wrap in reversed(middleware):
        run = partial(wrap, running.context, run)
    ended = await attempt.run(run, prepared.timeout_s, limits)
    if not isinstance(ended, Value):
        return ended
    if not prepared.job.message.reply_to or not isinstance(definition, TaskDefinition):
        return NO_RESULT
    return _written(definition, ended.value, max_result_bytes)


async def _elsewhere(prepared: Prepared, work: Callable[[], Any], attempt: Attempt, processes: Processes | None) -> Any:
    """Run a sync function off the event loop."""
    if prepared.definition.run == "process":
        assert processes is not None, "a worker has processes when one of its tasks runs in them"
        return await processes.run(prepared.definition, prepared.arguments)
    attempt.thread = start_thread(work, prepared.definition.name)
    return await asyncio.shield(attempt.thread)


def _written(definition: TaskDefinition, value: Any, largest: int) -> Outcome:
    try:
        body = definition.signature.encode_result(value)
        if len(body) > largest:
            raise MessageTooLarge(f"the result of {definition.name}", len(body), largest)
    except (InvalidArguments, MessageTooLarge) as error:
        failure = Failure(f"taskq.{type(error).__name__}", str(error)).fitted()
        return Unusable(DeadReason.INVALID_RESULT, failure)
    return Returned(body)
