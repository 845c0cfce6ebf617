"""Following the ledgers while they are written: when each process last got on. Each look reads what is new alone."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from pathlib import Path

from tests.support.ledger import Confirmed, Started
from tests.support.ledger.pen import SUFFIX
from tests.support.ledger.records import from_line


class Progress:
    """``times``: by pid, when it began executions and had jobs confirmed (seconds since the epoch), in order."""

    def __init__(self, folder: Path) -> None:
        self.times: dict[int, list[float]] = defaultdict(list)
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
        with path.open("rb") as ledger:
            ledger.seek(position)
            *lines, _torn = ledger.read().split(b"\n")
        self._read[path] = position + sum(len(line) + 1 for line in lines)
        pid = int(path.name.partition("-")[0])
        for line in lines:
            record = from_line(line)
            if isinstance(record, Started | Confirmed):
                self.times[pid].append(record.at)
