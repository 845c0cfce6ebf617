"""What a run has shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.endurance import program
from tests.endurance.stand import Stand


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``growing``: what grows, in words. ``lost``: jobs that were confirmed and have not run. ``figures``: what was
    counted and measured.
    """

    report: str
    growing: list[str]
    lost: list[int]
    figures: Mapping[str, object] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether nothing grows and nothing was lost."""
        return not self.growing and not self.lost

    def __str__(self) -> str:
        figures = "\n".join(f"{name}: {value}" for name, value in self.figures.items())
        return f"{figures}\n{self.report}\nlost: {len(self.lost)}; grows: {len(self.growing)}"


def outcome(stand: Stand, **figures: object) -> Outcome:
    """Return what a run has shown, at its last rest."""
    numbers = stand.numbers
    again = sum(number - 1 for number in program.done[:numbers] if number > 1)
    return Outcome(
        report=stand.watch.report(),
        growing=stand.watch.growing(),
        lost=program.lost(numbers),
        figures={
            **figures,
            "samples": len(stand.watch),
            "noted jobs confirmed": sum(program.confirmed[:numbers]),
            "run again": again,
            "errors of the broker": dict(stand.troubles),
            "told": dict(sorted(stand.told.items())),
        },
    )
