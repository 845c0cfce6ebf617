"""Following the ledgers while they are written: when each process got on, and how. Each look reads what is new alone.

A *way* to get on is a queue that a worker began to run a job of, or what a producer got: a confirm, a result.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from pathlib import Path

from tests.support.ledger import Answered, Confirmed, Record, Started
from tests.support.ledger.pen import SUFFIX
from tests.support.ledger.records import from_line

CONFIRMED, ANSWERED = "confirmed", "answered"


class Progress:
    """``times``: by pid, when it began executions and had jobs confirmed (seconds since the epoch), in order.

    ``last``: by pid and way, when it last got on in it. ``executions``: how often each job was begun.
    """

    def __init__(self, folder: Path) -> None:
        self.times: dict[int, list[float]] = defaultdict(list)
        self.last: dict[tuple[int, str], float] = {}
        self.executions: Counter[str] = Counter()
        self._folder = folder
        self._read: dict[Path, int] = {}

    def look(self) -> None:
        """Read on."""
        for path in self._folder.glob(f"*{SUFFIX}"):
            self._read_on(path)

    def first_after(self, pid: int, since: float) -> float | None:
        """Return when a process first got on after an instant; ``None``: not yet, as far as was read."""
        times = self.times[pid]
        position = bisect_right(times, since)
        return times[position] if position < len(times) else None

    def _read_on(self, path: Path) -> None:
        position = self._read.get(path, 0)
        if path.stat().st_size == position:
            return
        with path.open("rb") as ledger:
            ledger.seek(position)
            *lines, _torn = ledger.read().split(b"\n")
        self._read[path] = position + sum(len(line) + 1 for line in lines)
        pid = int(path.name.partition("-")[0])
        for line in lines:
            self._take(pid, from_line(line))

    def _take(self, pid: int, record: Record) -> None:
        if isinstance(record, Started):
            self.executions[record.job] += 1
            self.last[pid, record.queue] = record.at
        elif isinstance(record, Confirmed | Answered):
            self.last[pid, CONFIRMED if isinstance(record, Confirmed) else ANSWERED] = record.at
        if isinstance(record, Started | Confirmed):
            self.times[pid].append(record.at)
