"""What the task of every contender calls: ``count(a, b)`` adds, and notes down that it did.

Each process has a slot in the folder ``BENCH_TALLY``: how many executions, the sum of their results, and the times of
the first one, of the first that is timed, and of the last. The first ``BENCH_SKIP`` are not timed: they may have come
from a buffer that was filled before the first execution. It is memory shared with the harness, so that nothing is sent
or flushed for it. The file imports nothing but the standard library: it runs in every contender's environment.
"""

import mmap
import os
import struct
import threading
import time
from pathlib import Path

SLOT = struct.Struct("<QQQQQQ")


class _Slot:
    """This process's counters."""

    def __init__(self) -> None:
        path = Path(os.environ["BENCH_TALLY"]) / str(os.getpid())
        path.write_bytes(bytes(SLOT.size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), SLOT.size)
        self._lock = threading.Lock()
        self._skip = int(os.environ.get("BENCH_SKIP", "0"))
        self._count = self._total = self._first = self._from = 0

    def add(self, result: int) -> None:
        with self._lock:
            now = time.monotonic_ns()
            self._first = self._first or now
            self._count += 1
            self._total += result
            if self._count == self._skip + 1:
                self._from = now
            timed = max(self._count - self._skip, 0)
            SLOT.pack_into(self._memory, 0, self._count, self._total, timed, self._first, self._from, now)


_slot: _Slot | None = None
_making = threading.Lock()


def count(a: int, b: int) -> int:
    """Return the sum, and count the execution. The slot is made at the first one: after every fork."""
    global _slot  # noqa: PLW0603  # one for each process
    if _slot is None:
        with _making:
            _slot = _slot or _Slot()
    result = a + b
    _slot.add(result)
    return result
