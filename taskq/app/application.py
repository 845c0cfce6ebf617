"""The app: what a program declares, opened on a broker.

The composition root, and the only place that picks a broker.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

from typing_extensions import TypeVar as DefaultingTypeVar
from typing_extensions import Unpack

from taskq.app.audit import report_left_bindings
from taskq.app.connection import Backend, Connection
from taskq.app.routes import lead, take_over
from taskq.app.working import build_pipeline
from taskq.broker.protocol import QueueState
from taskq.client.many import enqueue_many
from taskq.client.sender import Sending
from taskq.errors import DeclarationError, UsageError
from taskq.inspection.dead import DeadLetters
from taskq.lifecycle import AppOpened, Emitter, Event
from taskq.observability import logs
from taskq.settings import SettingArguments, Settings, load_settings
from taskq.tasks.call import BoundCall
from taskq.tasks.decorators import RemoteDecorator, TaskDecorator
from taskq.tasks.duration import Duration, seconds
from taskq.tasks.exchange import Exchange
from taskq.tasks.exchanges import ExchangeKind, ExchangeOptions
from taskq.tasks.job import Job
from taskq.tasks.queues import Queue
from taskq.tasks.registry import Registry
from taskq.tasks.retry import NO_RETRY, RetryPolicy, check_retry
from taskq.tasks.router import Router
from taskq.tasks.task import AnyTask
from taskq.worker.execute import Middleware
from taskq.worker.worker import Worker, WorkerOptions

S = DefaultingTypeVar("S", default=object)
E = TypeVar("E", bound=Event)
T = TypeVar("T")


class TaskQ(Generic[S]):
    """An app: tasks, queues and settings under one name. ``S`` is the type of what its lifespan yields to tasks.

    ``lifespan`` is an async context manager function that makes the workers' state; only workers enter it. ``retry``
    holds for tasks that set no policy. The remaining keyword arguments are those of :class:`taskq.settings.Settings`;
    each goes before the ``TASKQ_*`` environment, which goes before the default. Nothing is read or connected before
    the app is opened with ``async with``.
    """

    def __init__(
        self,
        name: str,
        *,
        lifespan: Callable[[], AbstractAsyncContextManager[S]] | None = None,
        retry: RetryPolicy | None = None,
        **settings: Unpack[SettingArguments],
    ) -> None:
        if not name or not name.isprintable():
            raise DeclarationError(f"app name {name!r}: use printable characters, at least one")
        check_retry(f"app {name!r}", retry)
        self.name = name
        self.lifespan = lifespan
        self.emitter = Emitter()
        logs.subscribe(self.emitter)
        self.middlewares: list[Middleware] = []
        self._settings = settings
        self._retry = retry or NO_RETRY
        self._own: Router[S] = Router()
        self._routers: list[Router[Any]] = [self._own]
        self._open: tuple[Connection, AsyncExitStack] | None = None
        self._backend = Backend()

    # Declaring

    @property
    def task(self) -> TaskDecorator[S]:
        """The decorator that declares a task on the app itself; see :attr:`taskq.Router.task`."""
        return self._own.task

    def remote(self, name: str, /, *, queue: str, foreign: bool = False) -> RemoteDecorator:
        """Declare a typed stub of a task that other code runs; see :meth:`taskq.Router.remote`."""
        return self._own.remote(name, queue=queue, foreign=foreign)

    @overload
    def exchange(
        self, name: str, *, kind: ExchangeKind, payload: type[T], **options: Unpack[ExchangeOptions]
    ) -> Exchange[T]: ...
    @overload
    def exchange(
        self, name: str, *, kind: ExchangeKind, payload: Any = Any, **options: Unpack[ExchangeOptions]
    ) -> Exchange[Any]: ...
    def exchange(
        self, name: str, *, kind: ExchangeKind, payload: Any = Any, **options: Unpack[ExchangeOptions]
    ) -> Exchange[Any]:
        """Declare an exchange on the app itself; see :meth:`taskq.Router.exchange`."""
        return self._own.exchange(name, kind=kind, payload=payload, **options)

    def add_queue(self, queue: Queue) -> Queue:
        """Describe a queue further than its name; see :class:`taskq.Queue`."""
        return self._own.add_queue(queue)

    def include(self, *routers: Router[S] | Router[object]) -> None:
        """Take over the tasks and queues of routers; one that is in already changes nothing.

        Raises :class:`DeclarationError` for a name that is taken, and takes over none of them then.
        """
        if self._open is not None:
            raise UsageError(f"app {self.name!r} is open; include routers before it is opened")
        added = [router for router in dict.fromkeys(routers) if router not in self._routers]
        before = list(self._routers)
        self._routers += added
        try:
            self.registry()
        except DeclarationError:
            self._routers = before
            raise

    def middleware(self, function: Middleware) -> Middleware:
        """Wrap every execution: ``async def m(ctx, run)`` awaits ``run()`` and returns its value.

        The first one added is the outermost.
        """
        self.middlewares.append(function)
        return function

    def on(self, kind: type[E]) -> Callable[[Callable[[E], Any]], Callable[[E], Any]]:
        """Listen to a lifecycle event and its subclasses, with a function or a coroutine function.

        A listener that raises is reported as :class:`taskq.lifecycle.HookFailed`, and disturbs nothing else. Raises
        :class:`DeclarationError` when ``kind`` is no event.
        """
        return self.emitter.decorator(kind)

    def registry(self, settings: Settings | None = None) -> Registry:
        """Return all that is declared, with the defaults that hold. Raises :class:`DeclarationError` for clashes."""
        registry = Registry(retry=self._retry)
        if settings is not None:
            registry.timeout_s = settings.timeout
        for router in self._routers:
            registry.include(router)
        return registry

    def settings(self) -> Settings:
        """Return the settings that hold now: argument > environment > default. Raises :class:`UsageError`."""
        return load_settings(self._settings)

    @property
    def tasks(self) -> tuple[AnyTask, ...]:
        """Every task of the app and its routers, stubs included."""
        return tuple(self.registry().tasks.values())

    # Opening

    async def __aenter__(self) -> Self:
        """Connect, declare the app's queues, and bind its tasks. It runs neither the lifespan nor a task.

        Raises :class:`UsageError` when it is open already, a router is in another open app, a setting does not fit, or
        a queue's default is no task of the app, and a :class:`BrokerError` when the broker cannot be used.
        """
        if self._open is not None:
            raise UsageError(f"app {self.name!r} is open already; open it once, and share it")
        settings = self.settings()
        registry = self.registry(settings)
        registry.check()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.emitter.drain)
            take_over(registry, self.name, stack)
            broker = await stack.enter_async_context(self._backend.connect(settings, self.name, self.emitter))
            connection = Connection.over(
                broker,
                app=self.name,
                registry=registry,
                settings=settings,
                clock=self._backend.clock,
                emitter=self.emitter,
            )
            exchanges = [exchange.definition for exchange in registry.exchanges.values()]
            await broker.declare(registry.own_queues().values(), exchanges=exchanges, bindings=registry.bindings())
            stack.push_async_callback(connection.replies.close)
            stack.callback(connection.events.close)
            lead(registry, connection)
            stack.callback(self._close)
            stack.push_async_callback(self.emitter.drain)  # listeners that are under way may still send jobs
            self._open = (connection, stack.pop_all())
        watched = sys.stderr is not None and sys.stderr.isatty()
        by_default = self._backend.is_default(settings)
        self.emitter.emit(AppOpened(app=self.name, label=broker.label, by_default=by_default, interactive=watched))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            await self._open[1].pop_all().aclose()

    @property
    def connection(self) -> Connection:
        """The open connection. Raises :class:`UsageError` while the app is not open."""
        if self._open is None:
            raise UsageError(f"app {self.name!r} is not open; use it inside `async with app:`")
        return self._open[0]

    async def enqueue_many(self, calls: Iterable[BoundCall[Any]] | AsyncIterable[BoundCall[Any]]) -> list[Job]:
        """Enqueue bound calls, up to 1,000 waiting for their confirmation at a time, and return their jobs in order.

        Not atomic. Raises :class:`EnqueueManyFailed`, which says which were enqueued and which were not.
        """
        sender = self.connection.sender

        def begin(call: BoundCall[Any]) -> Sending:
            if not isinstance(call, BoundCall) or call.route.sender is not sender:
                raise self._refusal(call)
            return sender.begin(call)

        return await enqueue_many(begin, sender.end, calls)

    @property
    def dead_letters(self) -> DeadLetters:
        """The dead letters in the open app's broker."""
        return DeadLetters(self.connection.broker)

    async def queues(self, names: Iterable[str] = ()) -> list[QueueState]:
        """Return the state of every queue in the open app's broker.

        RabbitMQ does not list queues to a client: there, those of the app's tasks and those of ``names``.
        """
        connection = self.connection
        of_tasks = (task.queue for task in connection.registry.tasks.values())
        return await connection.broker.inspector.queues({*names, *of_tasks})

    @asynccontextmanager
    async def worker_state(self) -> AsyncGenerator[Any]:
        """Enter the lifespan, and yield what it yields (``None`` without one)."""
        if self.lifespan is None:
            yield None
        else:
            async with self.lifespan() as state:
                yield state

    def worker(
        self,
        *,
        queues: Mapping[str, int | None] | None = None,
        concurrency: int | None = None,
        grace: Duration | None = None,
        burst: bool = False,
        max_jobs: int | None = None,
    ) -> Worker:
        """Return a worker of the open app; ``await worker.run()`` works until ``worker.stop()``.

        ``queues`` names the queues to consume, and temporary subscriptions by their name, each with its concurrency or
        ``None``; without it, all queues of the app's own tasks and all subscriptions. ``concurrency`` holds for every
        queue that has none there. ``grace``: how long running jobs may go on at the end. ``burst``: end when the
        queues are empty, without temporary subscriptions. ``max_jobs``: end after so many executions. Raises
        :class:`UsageError` for a queue that no task of the app uses.
        """
        if max_jobs is not None and max_jobs < 1:
            raise UsageError(f"max_jobs={max_jobs!r}; a worker executes at least one job")
        options = WorkerOptions(
            app=self.name,
            grace_s=self.connection.settings.grace if grace is None else seconds(grace, "grace"),
            burst=burst,
            max_jobs=max_jobs,
        )
        pipeline = build_pipeline(
            self.connection,
            self.emitter,
            tuple(self.middlewares),
            queues=queues,
            concurrency=concurrency,
            burst=burst,
        )
        audit = partial(report_left_bindings, self.connection, self.emitter)
        return Worker(pipeline, options, self.worker_state, beside=audit)

    def use_backend(self, backend: Backend) -> None:
        """Open on another clock or broker than the settings say; the testing kit's way in. Only while not open."""
        if self._open is not None:
            raise UsageError(f"app {self.name!r} is open; it cannot change its backend now")
        self._backend = backend

    def _close(self) -> None:
        self._open = None

    def _refusal(self, call: object) -> UsageError:
        if not isinstance(call, BoundCall):
            return UsageError(f"{call!r} is no bound call; give task.bind(…), which sends nothing by itself")
        return UsageError(f"task {call.task!r} does not belong to app {self.name!r}; include its router")
