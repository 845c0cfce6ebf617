"""What a run found: frozen values, and their JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A fault that was carried out. ``recovered_s``: until every process got on; ``None`` where it was not alone.

    ``bound_s``: what is promised for it.
    """

    name: str
    stroke: int
    at: float
    lasted_s: float
    recovered_s: float | None
    bound_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run. ``violations``: what breaks a promise, in words; ``leftovers``: what should be gone at the end.

    ``duplicates``: jobs that ended twice, of which ``duplicates_by`` counts those that a fault explains, by its name.
    ``command``: what repeats it. Times in ``tried`` are seconds since the run began.
    """

    site: str
    seed: int
    seconds: float
    confirmed: int
    executions: int
    dead: int
    answered: int
    unanswered: int
    refused: int
    lost: int
    duplicates: int
    duplicates_by: dict[str, int]
    tried: tuple[Tried, ...]
    violations: tuple[str, ...]
    leftovers: tuple[str, ...]
    command: str = ""

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.violations or self.leftovers or self.slow)

    @property
    def slow(self) -> tuple[Tried, ...]:
        """The faults after which it took longer than is promised."""
        return tuple(
            each
            for each in self.tried
            if each.recovered_s is not None and each.bound_s is not None and each.recovered_s > each.bound_s
        )

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Outcome:
        """Read what :meth:`save` wrote."""
        fields: dict[str, Any] = json.loads(path.read_text())
        fields["tried"] = tuple(Tried(**each) for each in fields["tried"])
        fields["violations"], fields["leftovers"] = tuple(fields["violations"]), tuple(fields["leftovers"])
        return cls(**fields)
