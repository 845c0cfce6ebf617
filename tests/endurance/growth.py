"""Whether something grows: the rule by which a run of many samples is judged. Pure.

The rule. Samples are taken *at rest*: nothing is under way, all queues are empty, garbage was collected. The first
quarter is the warm-up: caches fill, threads start, memory is claimed. Through what follows goes a straight line, whose
slope is the median of the slopes between all pairs of samples (Theil and Sen): a few samples that stand out do not move
it. Its *rise* is how much the line gains from the first to the last of these samples. A measure grows

- when its rise is above what it is allowed: so much, or such a share of its level, whichever is more; or
- when it climbs steadily: among twenty samples or more, nine of ten pairs rise, by a fifth of that allowance together,
  and the latter half alone goes on at such a pace. What fills up and flattens does not: a cache, the lines of a module
  that was imported late.

Counts of things (file descriptors, tasks, threads, timers, queues, rows) are allowed 2. Objects of one type are allowed
25 or 5 %: one left behind at each reconnect is found by fifty of them. Objects of all types together are allowed 500 or
1 %, and so are Python's blocks of memory; memory itself 4 MiB or 5 %, since the allocator keeps what it once had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

WARM_UP = 0.25
FEWEST = 5  # samples behind the warm-up that say anything
_MANY, _STEADY = 20, 0.9
_OF_ALLOWANCE = 0.2

Sample = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Allowed:
    """``much``: in the measure's unit; ``share``: of its level."""

    much: float
    share: float = 0.0

    def at(self, level: float) -> float:
        """How much a measure may rise that stands at ``level``."""
        return max(self.much, self.share * level)


COUNT = Allowed(2)
TYPE = Allowed(25, 0.05)
OBJECTS = Allowed(500, 0.01)
BLOCKS = Allowed(500, 0.01)
MEMORY = Allowed(4096, 0.05)  # KiB


def allowed(measure: str) -> Allowed:
    """Return what a measure is allowed, by its name: ``type …``, ``… KiB``, or of what it counts."""
    if measure.startswith("type "):
        return TYPE
    if measure.endswith("KiB"):
        return MEMORY
    return {"objects": OBJECTS, "blocks": BLOCKS}.get(measure, COUNT)


@dataclass(frozen=True, slots=True)
class Course:
    """How a measure went behind the warm-up.

    ``late``: how much it would have risen at the pace of the latter half. ``steady``: the share of pairs of samples
    that rise, less that fall.
    """

    measure: str
    samples: int
    first: float
    last: float
    rise: float
    late: float
    steady: float
    limit: float

    @property
    def grows(self) -> bool:
        """Whether the rule says so."""
        climbs = self.samples >= _MANY and self.steady >= _STEADY
        return self.rise > self.limit or (climbs and min(self.rise, self.late) > _OF_ALLOWANCE * self.limit)

    def __str__(self) -> str:
        return (
            f"{self.measure}: {self.first:,.0f} -> {self.last:,.0f}, rises by {self.rise:,.1f} "
            f"(allowed {self.limit:,.1f}), {self.steady:.0%} steady"
        )


def judge(samples: Sequence[Sample]) -> list[Course]:
    """Return the course of every measure, in alphabetical order. Raises :class:`ValueError` for too few samples."""
    warm = samples[int(len(samples) * WARM_UP) :]
    if len(warm) < FEWEST:
        raise ValueError(f"{len(warm)} samples behind the warm-up say nothing; take {FEWEST} or more")
    measures = sorted({measure for sample in warm for measure in sample})
    return [_course(measure, [sample.get(measure, 0.0) for sample in warm]) for measure in measures]


def _course(measure: str, levels: list[float]) -> Course:
    size, slopes = len(levels), _slopes(levels)
    rise, late = (median(each) * (size - 1) for each in (slopes, _slopes(levels[size // 2 :])))
    steady = (sum(slope > 0 for slope in slopes) - sum(slope < 0 for slope in slopes)) / len(slopes)
    return Course(measure, size, levels[0], levels[-1], rise, late, steady, allowed(measure).at(median(levels)))


def _slopes(levels: list[float]) -> list[float]:
    size = len(levels)
    return [(levels[b] - levels[a]) / (b - a) for a in range(size) for b in range(a + 1, size)]
