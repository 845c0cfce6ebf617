"""The goals: ratios within one run, and a few plain numbers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Results

MEMORY_DRIFT = 0.05
MEMORY_FROM = 100_000


@dataclass(frozen=True, slots=True)
class Goal:
    """``measured`` returns a value and what it is made of, or ``None`` when the run does not tell."""

    text: str
    bound: float
    at_least: bool
    measured: Callable[[Results], tuple[float, str] | None]

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal held against a run: ``met`` is ``None`` when the run does not tell."""

    goal: Goal
    value: float | None
    basis: str
    met: bool | None


def verdicts(results: Results) -> list[Verdict]:
    """Hold every goal against a run."""
    found = []
    for goal in GOALS:
        measured = goal.measured(results)
        if measured is None:
            found.append(Verdict(goal, None, "", None))
        else:
            found.append(Verdict(goal, *measured, goal.met(measured[0])))
    return found


def to_peer(measure: str, *theirs: str, ours: str = "taskq") -> Callable[[Results], tuple[float, str] | None]:
    """Return the ratio of taskq, on a quorum queue unless ``ours`` says otherwise, to the best library on RabbitMQ."""

    def measured(results: Results) -> tuple[float, str] | None:
        found, best = results.median(ours, measure), results.best_peer(*(theirs or (measure,)))
        return None if found is None or best is None else _ratio(found, best[1], best[0])

    return measured


def to(mine: str, other: str, measure: str) -> Callable[[Results], tuple[float, str] | None]:
    """Return the ratio of one contender to another."""

    def measured(results: Results) -> tuple[float, str] | None:
        ours, theirs = results.median(mine, measure), results.median(other, measure)
        return None if ours is None or theirs is None else _ratio(ours, theirs, other)

    return measured


def value(name: str, measure: str) -> Callable[[Results], tuple[float, str] | None]:
    """Return a plain number."""

    def measured(results: Results) -> tuple[float, str] | None:
        found = results.median(name, measure)
        return None if found is None else (found, name)

    return measured


def _ratio(ours: float, theirs: float, other: str) -> tuple[float, str]:
    return ours / theirs, f"{_short(ours)} to {_short(theirs)} of {other}"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:,.3g}"


def memory_drift(results: Results) -> tuple[float, str] | None:
    """Return how far the memory of a worker goes from its mean, once it has run 100,000 jobs."""
    samples = [(each["executed"], each["pss_mb"]) for each in results.growth.get("depth", ()) if "pss_mb" in each]
    steady = [pss for jobs, pss in samples if jobs >= MEMORY_FROM]
    if len(steady) < 3:
        return None
    middle = sum(steady) / len(steady)
    worst = max(abs(each - middle) for each in steady) / middle
    return worst, f"{min(steady):.1f} to {max(steady):.1f} MB over {samples[-1][0]:,} jobs"


GOALS = (
    Goal("confirmed enqueue, 1,000 in flight, to the best RabbitMQ library", 3, True, to_peer("enqueue")),
    Goal("`enqueue_many` to the best RabbitMQ library", 4, True, to_peer("bulk", "bulk", "enqueue")),
    Goal("`enqueue_many` to the bare limit", 0.5, True, to("taskq", "limit", "bulk")),
    Goal("drain, concurrency 1,000, to the best RabbitMQ library", 6, True, to_peer("drain")),
    Goal("drain, concurrency 100, to the best RabbitMQ library", 6, True, to_peer("drain100")),
    Goal("prefetch 1 to the bare limit, quorum queue", 0.85, True, to("taskq", "limit", "drain1")),
    Goal("prefetch 1 to the bare limit, classic queue", 0.85, True, to("taskq-classic", "limit-classic", "drain1")),
    Goal("calls, 100 in flight, to the best RabbitMQ library", 3, True, to_peer("call")),
    Goal("one call at a time, p50, to the bare limit", 1.3, False, to("taskq", "limit", "p50")),
    Goal("one call at a time, p50, to the best RabbitMQ library", 1, False, to_peer("p50")),
    Goal("one call at a time, p50, classic queue, to the same library", 1, False, to_peer("p50", ours="taskq-classic")),
    Goal("SQLite: enqueue, 1,000 in flight, jobs/s", 15_000, True, value("taskq-sqlite", "enqueue")),
    Goal("SQLite: drain, jobs/s", 10_000, True, value("taskq-sqlite", "drain")),
    Goal("SQLite: one call at a time, p50, ms", 3, False, value("taskq-sqlite", "p50")),
    Goal("SQLite: enqueue to Huey on SQLite", 1, True, to("taskq-sqlite", "huey-sqlite", "enqueue")),
    Goal("SQLite: drain to Huey on SQLite", 1, True, to("taskq-sqlite", "huey-sqlite", "drain")),
    Goal("SQLite: one call at a time, p50, to Huey on SQLite", 1, False, to("taskq-sqlite", "huey-sqlite", "p50")),
    Goal("start to first job, to the fastest RabbitMQ library", 1.5, False, to_peer("start")),
    Goal("idle worker, PSS, MB", 45, False, value("taskq", "memory")),
    Goal("memory over 1,000,000 jobs: furthest from its mean after 100,000", MEMORY_DRIFT, False, memory_drift),
)
