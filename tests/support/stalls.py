"""Tells what a loaded machine did from what taskq did: a process beside the test that does next to nothing, on time.

It sleeps a little and writes a little to the test's disk, and notes whenever that took much longer than it should. A
job that is late by as much as the machine itself stood still is not late by our fault.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

NAP_S = 0.005
WRITE_EVERY_S = 0.05
STALL_S = 0.025  # what takes so much longer than it should is a stall

Stall = tuple[float, float]
"""From and until, in seconds since the epoch."""


def stood_still_s(stalls: Iterable[Stall], since: float, until: float) -> float:
    """Return for how many of the seconds between two instants the machine stood still; overlaps count once."""
    total, counted_to = 0.0, since
    for begin, end in sorted(stalls):
        begin, end = max(begin, counted_to), min(end, until)  # noqa: PLW2901  # the part that counts
        if end > begin:
            total += end - begin
            counted_to = end
    return total


class Watch:
    """The stalls so far, as the process beside the test writes them down."""

    def __init__(self, notes: Path, pid: int) -> None:
        self._notes = notes
        self.pid = pid

    def stalls(self) -> list[Stall]:
        """Return all stalls so far."""
        lines = self._notes.read_text().splitlines(keepends=True) if self._notes.exists() else []
        pairs = (line.split() for line in lines if line.endswith("\n"))
        return [(float(begin), float(end)) for begin, end in pairs]


@contextmanager
def watching(folder: Path) -> Iterator[Watch]:
    """Watch the machine during the block; files go into ``folder``."""
    notes = folder / "stalls"
    process = subprocess.Popen([sys.executable, __file__, str(folder)], stdin=subprocess.DEVNULL)
    try:
        yield Watch(notes, process.pid)
    finally:
        process.kill()
        process.wait(10)


def _main(folder: Path) -> None:
    notes = os.open(folder / "stalls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(began: float, should_s: float) -> None:
        ended = time.time()
        if ended - began - should_s > STALL_S:
            os.write(notes, f"{began + should_s} {ended}\n".encode())

    def write() -> None:
        file = os.open(folder / "stalls.data", os.O_WRONLY | os.O_CREAT)
        while True:
            began = time.time()
            os.pwrite(file, b"x" * 4096, 0)
            os.fsync(file)
            note(began, 0.0)
            time.sleep(WRITE_EVERY_S)

    threading.Thread(target=write, daemon=True).start()
    while True:
        began = time.time()
        time.sleep(NAP_S)
        note(began, NAP_S)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
