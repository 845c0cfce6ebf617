"""A router: where a module declares its tasks and exchanges, without importing an app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from typing_extensions import TypeVar as DefaultingTypeVar
from typing_extensions import Unpack

from taskq.errors import DeclarationError
from taskq.tasks.call import Route
from taskq.tasks.decorators import RemoteDecorator, SyncRun, TaskDecorator
from taskq.tasks.definition import define
from taskq.tasks.duration import Duration, seconds
from taskq.tasks.exchange import Exchange
from taskq.tasks.exchanges import ExchangeDefinition, ExchangeKind, ExchangeOptions
from taskq.tasks.payload import Payload
from taskq.tasks.queues import DEFAULT_QUEUE, Queue, check_queue_name
from taskq.tasks.retry import RetryPolicy, check_retry
from taskq.tasks.subscription import Subscription
from taskq.tasks.task import AnyTask, AsyncTask, RemoteTask, SyncTask

P = ParamSpec("P")
T = TypeVar("T")
S = DefaultingTypeVar("S", default=object)


class Router(Generic[S]):
    """A group of tasks that share a name prefix, a queue and defaults. ``S`` is the type of the workers'
    state.

    ``prefix`` stands before each task's name as it is written (``"images."``). ``queue``, ``timeout`` and
    ``retry`` hold for tasks that say nothing else.
    """

    def __init__(
        self,
        *,
        prefix: str = "",
        queue: str = DEFAULT_QUEUE,
        timeout: Duration | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        check_queue_name(queue)
        if not isinstance(prefix, str):
            raise DeclarationError(f"prefix {prefix!r} is no text; it stands before the name of each task")
        check_retry("router", retry)
        self.prefix = prefix
        self.queue = queue
        self.retry = retry
        self.timeout_s = None if timeout is None else seconds(timeout, "timeout", zero=False)
        self._tasks: dict[str, AnyTask] = {}
        self._queues: dict[str, Queue] = {}
        self._exchanges: dict[str, Exchange[Any]] = {}
        self._subscriptions: dict[str, Subscription] = {}

    @property
    def tasks(self) -> tuple[AnyTask, ...]:
        """The tasks declared here, stubs included, in order of declaration."""
        return tuple(self._tasks.values())

    @property
    def exchanges(self) -> tuple[Exchange[Any], ...]:
        """The exchanges declared here, in order of declaration."""
        return tuple(self._exchanges.values())

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """The subscriptions to this router's exchanges, in order of declaration."""
        return tuple(self._subscriptions.values())

    @property
    def queues(self) -> tuple[Queue, ...]:
        """The queues described here with :meth:`add_queue`."""
        return tuple(self._queues.values())

    @property
    def task(self) -> TaskDecorator[S]:
        """The decorator that declares a task: ``@router.task`` or ``@router.task(...)``.

        Arguments: ``name`` (the function's name unless given; the prefix stands before either), ``queue``,
        ``timeout`` of one attempt (seconds or ``timedelta``), ``retry`` (a :class:`RetryPolicy`),
        ``context=True`` when the first parameter is a :class:`Context`, ``run="process"`` for a ``def`` that
        is to run in a process of its own. Raises :class:`DeclarationError` when the function cannot be a
        task.
        """
        return cast("TaskDecorator[S]", self._declare)

    def remote(self, name: str, /, *, queue: str, foreign: bool = False) -> RemoteDecorator:
        """Declare a stub: typed calls of the task ``name`` (in full) that other code runs on ``queue``.

        The decorated ``def`` raises ``NotImplementedError``; only its signature counts. ``foreign``: the other code is
        a plain AMQP program, which gets the JSON of the only argument as the whole body, and may answer with any JSON
        value, or text.
        """
        check_queue_name(queue)

        def declare(function: Callable[P, T], /) -> RemoteTask[P, T]:
            definition = define(
                function,
                name=name,
                queue=queue,
                context=False,
                run="remote",
                timeout_s=None,
                retry=None,
                foreign=foreign,
            )
            task = RemoteTask[P, T](definition, Route())
            self._add(task)
            return task

        return declare

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
        """Declare an exchange: what is published to it goes to everybody who subscribes.

        ``kind``: ``fanout`` (to all), ``direct`` (by equal key), ``topic`` (by patterns of words) or ``headers`` (by
        header values). ``payload``: the type of its events, validated on both sides. The prefix of the router does not
        stand before its name. ``durable``, ``arguments``, ``declare``: see
        :class:`~taskq.tasks.exchanges.ExchangeDefinition`. Raises :class:`DeclarationError`.
        """
        definition = ExchangeDefinition(
            name=name,
            kind=kind,
            durable=options.get("durable", True),
            arguments=dict(options.get("arguments") or {}),
            declare=options.get("declare", True),
        )
        if name in self._exchanges:
            raise DeclarationError(f"exchange {name!r} is declared twice in one router")
        made = Exchange[Any](definition, Payload(name, payload), self.prefix, self._add_subscription)
        self._exchanges[name] = made
        return made

    def add_queue(self, queue: Queue) -> Queue:
        """Describe a queue further than its name (concurrency, priorities, limits), and return it."""
        if queue.name in self._queues:
            raise DeclarationError(f"queue {queue.name!r} is described twice in one router")
        self._queues[queue.name] = queue
        return queue

    def _declare(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        context: bool = False,
        name: str | None = None,
        queue: str | None = None,
        timeout: Duration | None = None,
        retry: RetryPolicy | None = None,
        run: SyncRun | None = None,
    ) -> AnyTask | Callable[[Callable[..., Any]], AnyTask]:
        if queue is not None:
            check_queue_name(queue)
        timeout_s = self.timeout_s if timeout is None else seconds(timeout, "timeout", zero=False)
        if run not in (None, "thread", "process"):
            raise DeclarationError(f"run={run!r}: a def runs in a 'thread' (the default) or a 'process'")

        def declare(function: Callable[..., Any]) -> AnyTask:
            definition = define(
                function,
                name=self.prefix + (str(getattr(function, "__name__", "")) if name is None else name),
                queue=self.queue if queue is None else queue,
                context=context,
                run=run,
                timeout_s=timeout_s,
                retry=self.retry if retry is None else retry,
            )
            if definition.run == "async":
                return self._add(AsyncTask[..., Any](definition, Route()))
            return self._add(SyncTask[..., Any](definition, Route()))

        return declare if function is None else declare(function)

    def _add_subscription(self, subscription: Subscription) -> None:
        if subscription.name in self._tasks or subscription.name in self._subscriptions:
            raise DeclarationError(
                f"subscription {subscription.name!r} has a name that is taken in its router; give it another: name='…'"
            )
        self._subscriptions[subscription.name] = subscription

    def _add(self, task: AnyTask) -> AnyTask:
        if task.name in self._tasks or task.name in self._subscriptions:
            raise DeclarationError(f"task {task.name!r} is declared twice in one router; give one of them another name")
        self._tasks[task.name] = task
        return task
