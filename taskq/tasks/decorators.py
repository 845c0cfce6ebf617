"""The types of the decorators: exact for mypy and pyright, so that every verb has the function's own
parameters.

``context=True`` is a flag of its own because detecting a Context by annotation would turn whole tasks into
``Any``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from typing_extensions import TypeVar as DefaultingTypeVar

from taskq.tasks.context import Context
from taskq.tasks.duration import Duration
from taskq.tasks.retry import RetryPolicy
from taskq.tasks.task import AsyncTask, RemoteTask, SyncTask

P = ParamSpec("P")
T = TypeVar("T")
S_co = DefaultingTypeVar("S_co", covariant=True, default=object)
SyncRun = Literal["thread", "process"]


class ContextTaskDecorator(Protocol[S_co]):
    """Makes a task of a function whose first parameter is a Context."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]  # see above
        self, function: Callable[Concatenate[Context[S_co], P], Coroutine[Any, Any, T]], /
    ) -> AsyncTask[P, T]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context[S_co], P], T], /) -> SyncTask[P, T]: ...


class TaskDecorator(Protocol[S_co]):
    """``@router.task`` and ``@router.task(...)``."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]  # see above
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> AsyncTask[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> SyncTask[P, T]: ...
    @overload
    def __call__(
        self,
        *,
        context: Literal[True],
        name: str | None = None,
        queue: str | None = None,
        timeout: Duration | None = None,
        retry: RetryPolicy | None = None,
        run: SyncRun | None = None,
    ) -> ContextTaskDecorator[S_co]: ...
    @overload
    def __call__(
        self,
        *,
        context: Literal[False] = False,
        name: str | None = None,
        queue: str | None = None,
        timeout: Duration | None = None,
        retry: RetryPolicy | None = None,
        run: SyncRun | None = None,
    ) -> TaskDecorator[S_co]: ...


class RemoteDecorator(Protocol):
    """Makes a stub of a ``def`` that raises ``NotImplementedError``."""

    def __call__(self, function: Callable[P, T], /) -> RemoteTask[P, T]: ...
