"""Something that is opened once, when it is first needed, for all who need it.

The opening is a task of its own, and who needs it waits for that: each with a patience of its own, so that a wait that
is cancelled disturbs neither the opening nor the others. An error goes to all who wait; who asks next, tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Opening(Generic[T]):
    """Runs ``open_`` until it succeeds once. ``closed`` makes the error of those who wait for it at the end."""

    def __init__(
        self, open_: Callable[[], Coroutine[Any, Any, T]], *, name: str, closed: Callable[[], Exception]
    ) -> None:
        self._open = open_
        self._name = name
        self._closed_error = closed
        self._task: asyncio.Task[T] | None = None
        self._closed = False

    @property
    def done(self) -> bool:
        """Whether it is open."""
        return self._task is not None and self._task.done()

    async def result(self) -> T:
        """Return what was opened, and open it before when nobody has. Raises what that raises, and ``closed``."""
        if self._closed:
            raise self._closed_error()
        if self._task is None:
            self._task = asyncio.create_task(self._open(), name=self._name)
            self._task.add_done_callback(self._ended)
        task = self._task
        if not task.done():
            await asyncio.wait({task})
        if task.cancelled():
            raise self._closed_error()
        return task.result()

    def abort(self) -> None:
        """Open it no more; who waits gets the error. Harmless twice."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Do the same, and wait until an opening under way has ended."""
        self.abort()
        if self._task is not None:
            await asyncio.wait({self._task})

    def _ended(self, task: asyncio.Task[T]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._task = None
