"""What a running task knows about its job."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from logging import Logger, LoggerAdapter, getLogger
from typing import Any, Generic, ParamSpec, TypeVar

from typing_extensions import TypeVar as DefaultingTypeVar

from taskq.errors import UsageError
from taskq.tasks.options import HeaderValue

P = ParamSpec("P")
T = TypeVar("T")
_log = getLogger("taskq.task")
S_co = DefaultingTypeVar("S_co", covariant=True, default=object)


class JobLog(LoggerAdapter[Logger]):
    """The logger of one execution: its records carry the job's fields, beside the ``extra`` of the call."""

    def __init__(self, *, job_id: str, task: str, queue: str, attempt: int) -> None:
        super().__init__(_log, {"job_id": job_id, "task": task, "queue": queue, "attempt": attempt})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the job's fields to those of the caller, which ``LoggerAdapter`` drops before Python 3.13."""
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


@dataclass(frozen=True, kw_only=True, slots=True, weakref_slot=True)
class Context(Generic[S_co]):
    """The job that a task runs for, and the worker's state.

    Declare the task with ``context=True`` and take it as the first parameter; in helper functions call
    :meth:`current`.

    ``job_id`` stays the same over all attempts. ``attempt`` counts from 1 what the retry policy counts;
    ``execution`` counts every start, snoozes and redeliveries too. ``deadline``: when this attempt times out.
    ``state``: what the app's lifespan yielded. ``headers``: the caller's own headers. ``log``: a logger whose
    lines carry the job.

    For taskq itself: ``slots``, of the queue in this worker; ``awaited``, for how many jobs of each queue the worker's
    tasks wait now.
    """

    job_id: str
    task: str
    queue: str
    attempt: int
    execution: int
    deadline: datetime
    state: S_co
    headers: Mapping[str, HeaderValue]
    log: LoggerAdapter[Logger]
    slots: int = 0
    awaited: Counter[str] | None = field(default=None, repr=False, compare=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, repr=False, compare=False)

    @classmethod
    def current(cls) -> Context[Any]:
        """Return the context of the task that is running here.

        Raises :class:`UsageError` outside of a task, and in a task that runs in a process of its own.
        """
        here = current_context.get()
        if here is None:
            raise UsageError("no task is running here; Context.current() works inside a task and what it calls")
        return here.context

    def from_thread(self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function on the worker's event loop from a ``def`` task and return its result.

        Raises what it raises, or :class:`UsageError` when called on the event loop itself, where waiting
        would stop everything.
        """
        if self._loop is None:
            raise UsageError("from_thread works in a task that a worker runs in a thread")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run_coroutine_threadsafe(function(*args, **kwargs), self._loop).result()
        raise UsageError("from_thread is for threads; on the event loop, await the function itself")


class Running:
    """An execution that may ask for its context, which is made when it first does: most tasks never look at it."""

    __slots__ = ("_context", "_make")

    def __init__(self, make: Callable[[], Context[Any]]) -> None:
        self._make = make
        self._context: Context[Any] | None = None

    @property
    def context(self) -> Context[Any]:
        """The context, always the same."""
        if self._context is None:
            self._context = self._make()
        return self._context


current_context: ContextVar[Running | None] = ContextVar("taskq_context", default=None)
"""The variable behind :meth:`Context.current`; the worker and the testing kit set it."""
