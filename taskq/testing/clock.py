"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

_START = 1_700_000_000.0  # any instant will do; the same in every run


class MovableClock:
    """A :class:`taskq.clock.Clock` that only :meth:`advance` moves. Sleepers wake in the order of their instants."""

    def __init__(self, start: float = _START) -> None:
        self._now = start
        self._numbers = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Seconds since the epoch, as the test has set them."""
        return self._now

    def monotonic(self) -> float:
        """The same as :meth:`now`: this clock never goes back."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return when the clock was moved by ``seconds``."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._numbers), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move the clock on and wake everybody whose time has come. It does not run what they do then."""
        if seconds < 0:
            raise ValueError(f"a clock does not go back: {seconds!r}")
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
