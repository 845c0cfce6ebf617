"""What the decorators return. ``task(…)`` is local; ``enqueue``, ``submit`` and ``call`` are remote."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast

from typing_extensions import Unpack

from taskq.errors import UsageError
from taskq.tasks.call import BoundCall, Route, Sender
from taskq.tasks.context import Context
from taskq.tasks.definition import TaskDefinition
from taskq.tasks.job import Job, ResultJob
from taskq.tasks.options import NO_OPTIONS, CallOptions, OptionArguments

P = ParamSpec("P")
T = TypeVar("T")


class Task(Generic[P, T]):
    """A declared task. Its remote verbs take the function's parameters and validate before sending."""

    def __init__(self, definition: TaskDefinition, route: Route, options: CallOptions = NO_OPTIONS) -> None:
        self.definition = definition
        self.route = route
        self.options = options
        update_wrapper(cast("Callable[..., Any]", self), definition.function)

    @property
    def name(self) -> str:
        """The name that travels; unique in an app."""
        return self.definition.name

    @property
    def queue(self) -> str:
        """The queue that its jobs go to."""
        return self.definition.queue

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> BoundCall[T]:
        """Return the call as data, validated; nothing is sent. Raises :class:`InvalidArguments`."""
        signature = self.definition.signature
        body = (signature.encode_foreign if self.definition.foreign else signature.encode)(args, kwargs)
        return BoundCall(self.definition, body, self.options, self.route)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job:
        """Enqueue a job and return when the broker has stored and confirmed it.

        At least once: a job that this returned for is not lost. Raises :class:`InvalidArguments` before
        anything is sent, else a :class:`BrokerError` within the publish deadline.
        """
        return await self._sender().enqueue(self.bind(*args, **kwargs))

    def with_options(self, **options: Unpack[OptionArguments]) -> Self:
        """Return this task with other options for its calls; see :class:`CallOptions` for each."""
        return type(self)(self.definition, self.route, self.options.merged(options))

    def __repr__(self) -> str:
        return f"<task {self.name} on queue {self.queue}>"

    def _run_here(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        context = (Context.current(),) if self.definition.context else ()
        return self.definition.function(*context, *args, **kwargs)

    def _sender(self) -> Sender:
        if self.route.sender is None:
            raise UsageError(
                f"task {self.name!r} is in no open app; enter `async with app:` first, and "
                "`app.include(router)` when a router declares it"
            )
        return self.route.sender


class ResultTask(Task[P, T]):
    """A task whose result can be awaited."""

    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> ResultJob[T]:
        """Enqueue a job whose result comes back to this process. Guarantee and errors as :meth:`enqueue`."""
        return await self._sender().submit(self.bind(*args, **kwargs))

    async def call(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Enqueue a job and return its result.

        The job expires with the wait (``reply_timeout``), so that no worker runs what nobody waits for.
        Raises what :meth:`enqueue` and :meth:`ResultJob.result` raise.
        """
        return await self._sender().call(self.bind(*args, **kwargs))


class AsyncTask(ResultTask[P, T]):
    """A task over an ``async def``. Calling it runs the function here and now, without any broker.

    A task with a Context gets the one that runs here; in tests, ``taskq.testing.context`` provides one.
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return cast("Coroutine[Any, Any, T]", self._run_here(args, kwargs))


class SyncTask(ResultTask[P, T]):
    """A task over a ``def``. Calling it runs the function here and now, without any broker. Context as above."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return cast("T", self._run_here(args, kwargs))


class RemoteTask(ResultTask[P, T]):
    """A stub for a task of other code. It cannot be called locally, and never declares its queue."""


AnyTask = Task[..., Any]
