"""Which faults come when, drawn from a seed. Pure.

The same seed gives the same faults in the same order with the same chances of their own; how many of them fit into a
time, and where exactly they hit, is up to the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tests.chaos.fault import Fault

_TOGETHER = 0.25  # of the strokes are two or three faults at once
_LONGEST_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class Stroke:
    """Faults that come together, most often one; each with the seed of its own chances. ``pause_s`` goes before it."""

    number: int
    pause_s: float
    faults: tuple[tuple[Fault, int], ...]


def strokes(faults: Sequence[Fault], seed: int) -> Iterator[Stroke]:
    """Yield strokes without end. The first ones have each fault once, alone, in a drawn order; then all is drawn."""
    rng = Random(seed)
    first = list(faults)
    rng.shuffle(first)
    number = 0
    while True:
        chosen = [first.pop()] if first else _drawn(faults, rng)
        seeds = tuple((fault, rng.randrange(2**32)) for fault in chosen)
        yield Stroke(number, rng.uniform(0, _LONGEST_PAUSE_S), seeds)
        number += 1


def _drawn(faults: Sequence[Fault], rng: Random) -> list[Fault]:
    wanted = rng.choice((2, 3)) if rng.random() < _TOGETHER else 1
    chosen: list[Fault] = []
    for _ in range(wanted):
        taken = frozenset().union(*(fault.breaks for fault in chosen))
        free = [fault for fault in faults if not fault.breaks & taken]
        if free:
            chosen.append(rng.choices(free, [fault.weight for fault in free])[0])
    return chosen
