"""A timer for the next delayed message, on the clock that is passed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from taskq.clock import Clock

_CLOSE_ENOUGH_S = 1e-6  # a rest of rounding; a moved clock would never get past it


class DueTimer:
    """Calls ``due`` at one instant. It owns one task while it is set."""

    def __init__(self, clock: Clock, due: Callable[[], None]) -> None:
        self._clock = clock
        self._due = due
        self._instant: float | None = None
        self._task: asyncio.Task[None] | None = None

    def set(self, instant: float | None) -> None:
        """Replace the instant (seconds since the epoch); ``None`` stops the timer."""
        if instant == self._instant:
            return
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._instant = instant
        if instant is not None:
            self._task = asyncio.get_running_loop().create_task(self._wait(instant))

    async def close(self) -> None:
        """Stop the timer and wait for the end of its task."""
        task = self._task
        self.set(None)
        if task is not None:
            await asyncio.wait([task])

    async def _wait(self, instant: float) -> None:
        while (left := instant - self._clock.now()) > _CLOSE_ENOUGH_S:
            await self._clock.sleep(left)
        self._instant = self._task = None
        self._due()
