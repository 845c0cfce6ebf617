"""A run's results for a terminal: a plain table, what failed, and the goals. Pure."""

from __future__ import annotations

from benchmarks.goals import Verdict, verdicts
from benchmarks.measurement import MEASURES
from benchmarks.results import Results

_MARKS = {True: "met", False: "MISSED", None: "not measured"}


def told(results: Results) -> str:
    """Return all of it."""
    return "\n".join([*_table(results), "", *_failures(results), *_goals(results)])


def number(value: float | None) -> str:
    """Return a figure as tables have it."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _table(results: Results) -> list[str]:
    lines = [f"{'':16}" + "".join(f"{measure:>10}" for measure in MEASURES)]
    for entrant in results.entrants:
        cells = [_cell(results, entrant.name, measure) for measure in MEASURES]
        lines.append(f"{entrant.name:16}" + "".join(f"{cell:>10}" for cell in cells))
    return lines


def _cell(results: Results, name: str, measure: str) -> str:
    value = results.median(name, measure)
    return "failed" if value is None and results.reason(name, measure) else number(value)


def _failures(results: Results) -> list[str]:
    return [
        f"{name}, {measure}: {reason}"
        for name, reasons in results.failures.items()
        for measure, reason in reasons.items()
    ]


def _goals(results: Results) -> list[str]:
    return [_goal(verdict) for verdict in verdicts(results)]


def _goal(verdict: Verdict) -> str:
    sign = "≥" if verdict.goal.at_least else "≤"
    value = (
        "–" if verdict.value is None else f"{verdict.value:,.3g}" if verdict.value < 100 else f"{verdict.value:,.0f}"
    )
    return (
        f"{_MARKS[verdict.met]:13} {value:>8} {sign} {verdict.goal.bound:<8,g} {verdict.goal.text}  ({verdict.basis})"
    )
