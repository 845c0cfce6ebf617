"""How large a run is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How many members there are, and how much they do. ``rate``: jobs a second of each producer."""

    workers: int = 3
    concurrency: int = 4
    producers: int = 2
    rate: float = 15.0

    @property
    def worker_names(self) -> tuple[str, ...]:
        """What the workers' roles are called."""
        return tuple(f"worker-{number}" for number in range(self.workers))

    @property
    def producer_names(self) -> tuple[str, ...]:
        """What the producers' roles are called."""
        return tuple(f"producer-{number}" for number in range(self.producers))
