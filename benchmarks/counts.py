"""What the processes of a worker have counted so far: the other end of `programs/tally`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.programs.tally import SLOT


@dataclass(frozen=True, slots=True)
class Counts:
    """Executions, the sum of their results, how many were timed, and times (monotonic, ns).

    Those of the first execution, of the first that is timed, and of the last.
    """

    executed: int = 0
    total: int = 0
    timed: int = 0
    first_ns: int = 0
    from_ns: int = 0
    last_ns: int = 0

    @property
    def rate(self) -> float:
        """Executions a second, between the first that is timed and the last."""
        return (self.timed - 1) / ((self.last_ns - self.from_ns) / 1e9)


def counts(folder: Path) -> Counts:
    """Return the sum over all processes."""
    slots = [SLOT.unpack(data) for path in folder.iterdir() if len(data := path.read_bytes()) == SLOT.size]
    begun = [slot for slot in slots if slot[0]]
    if not begun:
        return Counts()
    executed, total, timed, first, start, last = zip(*begun, strict=True)
    return Counts(
        sum(executed),
        sum(total),
        sum(timed),
        min(first),
        min((each for each in start if each), default=0),
        max(last),
    )


def expected_total(jobs: int) -> int:
    """Return the sum of the results of the jobs 0 … ``jobs`` - 1, which each add 1 to their number."""
    return jobs * (jobs - 1) // 2 + jobs
