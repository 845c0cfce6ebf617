"""What the processes of a worker have counted so far: the other end of `programs/tally`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.programs.tally import SLOT


@dataclass(frozen=True, slots=True)
class Counts:
    """Executions, the sum of their results, and when the first and the last was (monotonic, ns)."""

    executed: int
    total: int
    first_ns: int
    last_ns: int

    @property
    def rate(self) -> float:
        """Executions a second between the first and the last."""
        return (self.executed - 1) / ((self.last_ns - self.first_ns) / 1e9)


def counts(folder: Path) -> Counts:
    """Return the sum over all processes."""
    slots = [SLOT.unpack(data) for path in folder.iterdir() if len(data := path.read_bytes()) == SLOT.size]
    begun = [slot for slot in slots if slot[0]]
    if not begun:
        return Counts(0, 0, 0, 0)
    executed, total, first, last = zip(*begun, strict=True)
    return Counts(sum(executed), sum(total), min(first), max(last))


def expected_total(jobs: int) -> int:
    """Return the sum of the results of the jobs 0 … ``jobs`` - 1, which each add 1 to their number."""
    return jobs * (jobs - 1) // 2 + jobs
