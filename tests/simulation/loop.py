"""The event loop of one simulated process: asyncio's own order within it, and the world's time.

What asyncio guarantees is kept, since code may rely on it: callbacks of one loop run in the order in which they were
scheduled, in turns, and the timers that are due join at the beginning of a turn. What asyncio leaves open is drawn: the
order of timers that are due at the same instant, when the word of another thread arrives, and what the loops of other
processes do in between.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from itertools import count
from math import inf
from random import Random
from typing import Any, Protocol


class Surroundings(Protocol):
    """The world, as its loops see it."""

    now: float
    chance: Random

    def arrive(self, loop: VirtualLoop, handle: asyncio.Handle) -> None:
        """Let what another thread hands over reach ``loop``, some time later."""

    def complain(self, text: str) -> None:
        """Take down what must not happen."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs one callback at each :meth:`step`. ``tasks`` are all that were made on it."""

    def __init__(self, world: Surroundings, name: str) -> None:
        self.name = name
        self.tasks: list[asyncio.Task[Any]] = []
        self.last_arrival = 0.0
        self._world = world
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, float, int, asyncio.TimerHandle]] = []
        self._numbers = count()
        self._todo = 0
        self._closed = False

    # For the world.

    def is_ready(self) -> bool:
        """Say whether there is something to run now."""
        return bool(self._ready) or self.next_timer() <= self._world.now

    def next_timer(self) -> float:
        """Return when the next timer is due."""
        timers = self._timers
        while timers and timers[0][3].cancelled():
            heapq.heappop(timers)
        return timers[0][0] if timers else inf

    def step(self) -> str:
        """Run the next callback, and return what it was."""
        if not self._todo:
            self._take_due()
            self._todo = len(self._ready)
        self._todo -= 1
        handle = self._ready.popleft()
        if handle.cancelled():
            return ""
        asyncio._set_running_loop(self)
        try:
            handle._run()
        finally:
            asyncio._set_running_loop(None)
        return what(handle)

    def bring(self, handle: asyncio.Handle) -> None:
        """Let a callback that was under way arrive."""
        if not self._closed:
            self._ready.append(handle)

    def _take_due(self) -> None:
        while self.next_timer() <= self._world.now:
            self._ready.append(heapq.heappop(self._timers)[3])

    # For asyncio and taskq.

    def time(self) -> float:
        return self._world.now

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._world.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, self._world.chance.random(), next(self._numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass  # it is left out when its time comes

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        if self._closed:
            raise RuntimeError("the loop is closed")
        handle = asyncio.Handle(callback, args, self, context)
        self._world.arrive(self, handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        self.tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._world.complain(f"{self.name}: {context.get('message')}: {context.get('exception')!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._closed

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    # The end of a process that was killed: nothing of it may run any more, but Python wants its coroutines ended.

    def unwind(self) -> None:
        """End every coroutine that is left, away from the world; what they do reaches nobody."""
        for _ in range(30):
            left = [task for task in self.tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            self._run_out()
        self.close()

    def _run_out(self) -> None:
        asyncio._set_running_loop(self)
        try:
            for _ in range(10_000):
                if not self._ready:
                    break
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)


def what(handle: asyncio.Handle) -> str:
    """Return a name for a callback that is the same in each run."""
    callback: Any = handle._callback
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return f"task {owner.get_coro().__qualname__}"  # type: ignore[union-attr]
    return str(getattr(callback, "__qualname__", type(callback).__name__))
