"""Time, as an object that is passed, so that tests can move it. Nothing else in taskq asks the system for the
time (but an id carries it, see :mod:`taskq.wire.ids`).

Wall time (``now``) is for what must mean the same on every machine: ETAs, expiries, records. Monotonic time
is for what must not jump: leases, intervals. The movable clock of the tests is
:class:`taskq.testing.MovableClock`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What taskq asks about time. ``now`` and ``monotonic`` may be called from any thread."""

    def now(self) -> float:
        """Seconds since the epoch, wall time. It may jump when the system's clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary point; never goes back, the same for all processes of one boot."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when ``seconds`` have passed on this clock (at once for zero and below)."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
