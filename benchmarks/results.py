"""What a run has found: every value of every round, and what follows from them. Pure, and JSON on the disk."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contender import Role, Store
from benchmarks.measurement import LOWER_IS_BETTER


@dataclass(frozen=True, slots=True)
class Entrant:
    """A contender as the tables know it."""

    name: str
    title: str
    store: str
    role: str
    guarantee: str
    versions: str


@dataclass(slots=True)
class Results:
    """``rounds``: for each, contender → measure → value. ``failures``: contender → measure → reason.

    ``growth``: curve → list of points, each a pair of x and a mapping of what was measured there.
    """

    machine: dict[str, str]
    entrants: list[Entrant] = field(default_factory=list)
    rounds: list[dict[str, dict[str, float]]] = field(default_factory=list)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    growth: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def median(self, name: str, measure: str) -> float | None:
        """Return the median over the rounds that have a value."""
        values = [value for each in self.rounds if (value := each.get(name, {}).get(measure)) is not None]
        return statistics.median(values) if values else None

    def best_peer(self, *measures: str) -> tuple[str, float] | None:
        """Return the best of the libraries on RabbitMQ by any of the measures, and its value."""
        peers = [each.name for each in self.entrants if each.store == Store.RABBITMQ and each.role == Role.PEER]
        return self.best(peers, *measures)

    def best(self, names: list[str], *measures: str) -> tuple[str, float] | None:
        """Return who of them is best by any of the measures, which have one unit, and the value."""
        found = [(name, value) for name in names for each in measures if (value := self.median(name, each)) is not None]
        if not found:
            return None
        return (min if measures[0] in LOWER_IS_BETTER else max)(found, key=lambda pair: pair[1])

    def reason(self, name: str, measure: str) -> str | None:
        """Return why there is no value, if it was tried."""
        return self.failures.get(name, {}).get(measure)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        data = json.loads(path.read_text())
        entrants = [Entrant(**each) for each in data.pop("entrants")]
        return cls(entrants=entrants, **data)
