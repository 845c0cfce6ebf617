"""The deadlines of all open publishes, with one timer: at the nearest of them, everything that is open is looked at.

Most publishes have the same timeout and are confirmed in milliseconds, so that a look is rare, and a publish costs one
comparison.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from math import inf

from taskq.broker.amqp.outbox import Publish

_LATENESS_S = 0.02  # how late a deadline may be noticed, so that many of them need few looks


class Deadlines:
    """Calls ``overdue`` with each of ``everything`` that is open at its deadline, and ``looked`` after each look."""

    def __init__(
        self,
        everything: Callable[[], Iterable[Publish]],
        overdue: Callable[[Publish], None],
        looked: Callable[[], None],
    ) -> None:
        self._everything = everything
        self._overdue = overdue
        self._looked = looked
        self._loop = asyncio.get_running_loop()
        self._look_at = inf
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, deadline: float) -> None:
        """Look no later than at ``deadline``, in the loop's time."""
        if deadline < self._look_at:
            self._look_at = deadline
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._look)

    def close(self) -> None:
        """Look no more; harmless twice."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        waiting = [publish for publish in self._everything() if not publish.confirmed.done()]
        for publish in waiting:
            if publish.deadline <= now:
                self._overdue(publish)
        self._look_at = inf
        self._timer = None
        nearest = min((publish.deadline for publish in waiting if not publish.confirmed.done()), default=inf)
        if nearest < inf:
            self.watch(max(nearest, now + _LATENESS_S))
        self._looked()
