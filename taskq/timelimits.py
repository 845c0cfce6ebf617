"""Time limits of many things at once, with one timer for all of them: attempts of a worker, waits for results.

Things with the same limit end in the order in which they began, so each length has a dict of its own, whose first entry
is its nearest deadline. A job thus costs an entry made and an entry removed, however long its limit is; the timer looks
at the first entries alone, and only when the nearest of all has come.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Protocol


class Limited(Protocol):
    """What has a time limit."""

    def expire(self) -> None:
        """Its time is over."""
        ...


class TimeLimits:
    """The limits of one event loop. Times are seconds on its clock."""

    def __init__(self) -> None:
        self._by_length: dict[float, dict[Limited, float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = inf

    def __len__(self) -> int:
        return sum(map(len, self._by_length.values()))

    def begin(self, limited: Limited, timeout_s: float) -> None:
        """Call ``expire`` in ``timeout_s``, unless :meth:`end` comes first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        running = self._by_length.get(timeout_s)
        if running is None:
            running = self._by_length[timeout_s] = {}
        running[limited] = deadline
        if deadline < self._look_at:
            self._look(deadline, loop)

    def end(self, limited: Limited, timeout_s: float) -> None:
        """Take note that it ended; harmless when its time is over."""
        running = self._by_length.get(timeout_s)
        if running is not None:
            running.pop(limited, None)

    def close(self) -> None:
        """Expire nothing any more; harmless twice."""
        if self._timer is not None:
            self._timer.cancel()
        self._look_at = inf

    def _look(self, when: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._look_at = when
        self._timer = loop.call_at(when, self._expire)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now, nearest = loop.time(), inf
        for length, running in list(self._by_length.items()):
            while running:
                limited, deadline = next(iter(running.items()))
                if deadline > now:
                    nearest = min(nearest, deadline)
                    break
                del running[limited]
                limited.expire()
            else:
                del self._by_length[length]
        self._timer, self._look_at = None, inf
        if nearest < inf:
            self._look(nearest, loop)
