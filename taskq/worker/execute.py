"""Running one attempt of a task: it returns an outcome as a value and never touches the broker.

Whose cancellation is it? Three parties can end a running task early: its time limit, the worker's shutdown, and its
own code. The time limit is an ``asyncio.timeout`` whose ``expired()`` tells it from a ``TimeoutError`` of the task's
own; the shutdown sets a flag before it cancels; a ``CancelledError`` without either is the task's own and an error like
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
from typing import Any, cast

from taskq.errors import InvalidArguments, MessageTooLarge
from taskq.tasks.context import Context
from taskq.tasks.control import Reject, Retry, Snooze
from taskq.wire.dead import DeadReason
from taskq.wire.failure import Failure, message_of
from taskq.worker.outcome import (
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
from taskq.worker.processes import Processes
from taskq.worker.threads import start_thread

_WISHES = (Reject, Retry, Snooze)

Run = Callable[[], Awaitable[Any]]
Middleware = Callable[[Context[Any], Run], Awaitable[Any]]
"""``async def middleware(ctx, run)``: wraps executions; it awaits ``run()`` and returns its value, or another."""


class Attempt:
    """One running attempt. ``thread`` is what a sync task runs in; it may outlive the attempt.

    ``worker`` is the asyncio task of the worker, which is cancelled when everything is. ``began`` is on the monotonic
    clock, in seconds.
    """

    def __init__(self, worker: asyncio.Task[Any] | None = None) -> None:
        self._worker = worker
        self.began = 0.0
        self.thread: asyncio.Future[Any] | None = None
        self._interrupted = False
        self._running: asyncio.Task[Any] | None = None

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

    async def run(self, call: Run, timeout_s: float) -> Any | Outcome:
        """Return the value of ``call`` wrapped as :class:`Value`, or the outcome that stands in its place."""
        cut_before = self._interrupted  # a name of its own: mypy would hold the attribute for false from here on
        if cut_before:
            return Interrupted()
        current = asyncio.current_task()
        assert current is not None
        cancels_before = current.cancelling()
        self._running = current
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                ended: Any | Outcome = Value(await call())
        except asyncio.CancelledError as error:
            if not self._interrupted and current.cancelling() > cancels_before and self._all_ends():
                raise
            ended = Raised(error)
        except BaseException as error:  # a `SystemExit` would end the event loop
            ended = _steered(error)
        finally:
            self._running = None
        while current.cancelling() > cancels_before:
            current.uncancel()
        if self._interrupted:
            return Interrupted()
        return TimedOut(timeout_s) if limit.expired() else ended

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
        case Retry(after_s=int() | float() | None as after_s) as retry:
            return RetryAsked(message_of(retry), after_s)
        case Snooze(delay_s=int() | float() as delay_s):
            return SnoozeAsked(delay_s)
        case Reject() as reject:
            return Rejected(message_of(reject))
        case _:
            return Raised(error)


def _asked(error: BaseException) -> BaseException:
    """Return what a group that holds nothing but wishes of the task asks for first; any other error as it is."""
    leaves = _leaves(error)
    if not all(isinstance(leaf, _WISHES) for leaf in leaves):
        return error
    return min(leaves, key=lambda leaf: next(i for i, kind in enumerate(_WISHES) if isinstance(leaf, kind)))


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [leaf for part in group.exceptions for leaf in _leaves(part)]


async def execute(
    prepared: Prepared,
    context: Context[Any],
    attempt: Attempt,
    *,
    middleware: tuple[Middleware, ...],
    processes: Processes,
    max_result_bytes: int,
) -> Outcome:
    """Run a job's task once and return what came of it. The context variable is set by the caller."""
    run: Run = partial(_function, prepared, context, attempt, processes)
    for wrap in reversed(middleware):
        run = partial(wrap, context, run)
    ended = await attempt.run(run, prepared.timeout_s)
    if not isinstance(ended, Value):
        outcome: Outcome = ended
        return outcome
    if not prepared.job.message.reply_to:
        return Returned(None)
    return _written(prepared, ended.value, max_result_bytes)


async def _function(prepared: Prepared, context: Context[Any], attempt: Attempt, processes: Processes) -> Any:
    definition, arguments = prepared.definition, prepared.arguments
    args = (context, *arguments.args) if definition.context else arguments.args
    match definition.run:
        case "thread":
            work = partial(definition.function, *args, **arguments.kwargs)
            attempt.thread = start_thread(work, definition.name)
            return await asyncio.shield(attempt.thread)
        case "process":
            return await processes.run(definition, arguments)
        case _:
            return await definition.function(*args, **arguments.kwargs)


def _written(prepared: Prepared, value: Any, largest: int) -> Outcome:
    definition = prepared.definition
    try:
        body = definition.signature.encode_result(value)
        if len(body) > largest:
            raise MessageTooLarge(f"the result of {definition.name}", len(body), largest)
    except (InvalidArguments, MessageTooLarge) as error:
        failure = Failure(f"taskq.{type(error).__name__}", str(error)).fitted()
        return Unusable(DeadReason.INVALID_RESULT, failure)
    return Returned(body)
