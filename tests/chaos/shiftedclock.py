"""The wall clock of a member, which a fault moves by a file. The ledger keeps the machine's own time."""

from __future__ import annotations

import os
import time
from pathlib import Path

from taskq.clock import SystemClock

CLOCK = "CHAOS_CLOCK"


class ShiftedClock(SystemClock):
    """Adds to the wall time the seconds that stand in a file; without the file it is the clock of the machine.

    The monotonic clock never jumps, whoever sets the time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> float:
        return time.time() + self._shift()

    def _shift(self) -> float:
        try:
            return float(self._path.read_text())
        except FileNotFoundError:
            return 0.0


def shift(path: Path, seconds: float) -> None:
    """Move the clock that looks at ``path``: it reads the old value or the new one, and nothing between."""
    beside = path.with_suffix(".new")
    beside.write_text(repr(seconds))
    os.replace(beside, path)
