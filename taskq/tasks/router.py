"""A router: where a module declares its tasks, without importing an app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, cast

from typing_extensions import TypeVar as DefaultingTypeVar

from taskq.errors import DeclarationError
from taskq.tasks.call import Route
from taskq.tasks.decorators import RemoteDecorator, SyncRun, TaskDecorator
from taskq.tasks.definition import define
from taskq.tasks.duration import Duration, seconds
from taskq.tasks.queues import DEFAULT_QUEUE, Queue, check_queue_name
from taskq.tasks.retry import RetryPolicy
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
        self.prefix = prefix
        self.queue = queue
        self.retry = retry
        self.timeout_s = None if timeout is None else seconds(timeout, "timeout", zero=False)
        self._tasks: dict[str, AnyTask] = {}
        self._queues: dict[str, Queue] = {}

    @property
    def tasks(self) -> tuple[AnyTask, ...]:
        """The tasks declared here, stubs included, in order of declaration."""
        return tuple(self._tasks.values())

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

    def remote(self, name: str, /, *, queue: str) -> RemoteDecorator:
        """Declare a stub: typed calls of the task ``name`` (in full) that other code runs on ``queue``.

        The decorated ``def`` raises ``NotImplementedError``; only its signature counts.
        """
        check_queue_name(queue)

        def declare(function: Callable[P, T], /) -> RemoteTask[P, T]:
            definition = define(
                function, name=name, queue=queue, context=False, run="remote", timeout_s=None, retry=None
            )
            task = RemoteTask[P, T](definition, Route())
            self._add(task)
            return task

        return declare

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

    def _add(self, task: AnyTask) -> AnyTask:
        if task.name in self._tasks:
            raise DeclarationError(f"task {task.name!r} is declared twice in one router; give one of them another name")
        self._tasks[task.name] = task
        return task
