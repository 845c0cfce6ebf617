"""The tables of `docs/performance.md`, as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.console import number
from benchmarks.contender import Role, Store
from benchmarks.goals import Verdict, verdicts
from benchmarks.measurement import LOWER_IS_BETTER, MEASURES
from benchmarks.results import Entrant, Results

_MARKS = {True: "met", False: "**not met**", None: "not measured"}
_HEADS = {
    "enqueue": "enqueue, jobs/s",
    "bulk": "in bulk, jobs/s",
    "drain": "drain, 1,000, jobs/s",
    "drain100": "drain, 100, jobs/s",
    "drain1": "drain, prefetch 1, jobs/s",
    "call": "calls, 100, calls/s",
    "p50": "one call, p50, ms",
    "p99": "one call, p99, ms",
    "start": "start, s",
    "memory": "idle, MB",
}

_LONGEST_REASON = 160  # characters


def machine(results: Results) -> str:
    """Return what the run was made on and by."""
    rows = [(f"`{value}`" if what == "command" else value) for what, value in results.machine.items()]
    listed = zip(results.machine, rows, strict=True)
    return table(("", ""), [*listed, ("rounds", str(len(results.rounds)))])


def contenders(results: Results, stores: Iterable[Store]) -> str:
    """Return the figures of all on these stores, each with what it guarantees: medians over the rounds."""
    rows = [
        (*_named(each, results), *(_cell(results, each.name, measure) for measure in MEASURES), each.guarantee)
        for store in stores
        for each in results.entrants
        if each.store == store
    ]
    return table(("", *_HEADS.values(), "guarantee"), rows)


def _named(entrant: Entrant, results: Results) -> tuple[str]:
    store = "" if entrant.store == Store.RABBITMQ else f", {entrant.store}"
    title = f"{entrant.title}{store}"
    return (f"**{title}**" if entrant.role == Role.OURS else title,)


def ratios(results: Results) -> str:
    """Return taskq on a quorum queue beside the best RabbitMQ library and the bare limit: how many times as good."""
    rows = []
    for measure, head in _HEADS.items():
        ours, best, limit = (
            results.median("taskq", measure),
            results.best_peer(*(("bulk", "enqueue") if measure == "bulk" else (measure,))),
            results.median("limit", measure),
        )
        if ours is not None:
            beside = f"{number(best[1])} ({best[0]})" if best else "–"
            to_best = _times(ours, best[1], measure) if best else "–"
            rows.append((head, number(ours), beside, to_best, number(limit), _times(ours, limit, measure)))
    heads = ("", "taskq, quorum", "best RabbitMQ library", "times as good", "bare limit, quorum", "times as good")
    return table(heads, rows)


def _times(ours: float, other: float | None, measure: str) -> str:
    if not other or not ours:
        return "–"
    return f"{other / ours if measure in LOWER_IS_BETTER else ours / other:.2f}"


def goals(results: Results) -> str:
    """Return every goal, what was measured, and whether it is met."""
    return table(("goal", "", "measured", "of", ""), [_goal(each) for each in verdicts(results)])


def _goal(verdict: Verdict) -> tuple[str, ...]:
    sign = "≥" if verdict.goal.at_least else "≤"
    value = "–" if verdict.value is None else number(verdict.value)
    return verdict.goal.text, f"{sign} {verdict.goal.bound:,g}", value, verdict.basis, _MARKS[verdict.met]


def growth(results: Results, curve: str, x: str, columns: Sequence[str] = ("enqueue", "drain")) -> str:
    """Return a curve of both brokers as a table of rates."""
    both = {"RabbitMQ": results.growth.get(curve, []), "SQLite": results.growth.get(f"sqlite {curve}", [])}
    used = [(broker, column) for broker in both for column in columns if any(column in p for p in both[broker])]
    xs = sorted({point["x"] for points in both.values() for point in points})
    rows = [
        (
            f"{each:,}",
            *(next((number(p[c]) for p in both[broker] if p["x"] == each and c in p), "–") for broker, c in used),
        )
        for each in xs
    ]
    return table((x, *(f"{broker}: {column}, jobs/s" for broker, column in used)), rows)


def failures(results: Results) -> str:
    """Return what has no figure, and why; a sentence when there is nothing."""
    rows = sorted({(name, _cut(reason)) for name, reasons in results.failures.items() for reason in reasons.values()})
    return table(("", "reason"), rows) if rows else "Nothing failed."


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a `|` in a cell does not end it."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _cut(reason: str) -> str:
    """Return the beginning of a reason; the whole of it is in the results' file."""
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"


def _cell(results: Results, name: str, measure: str) -> str:
    value = results.median(name, measure)
    return "failed" if value is None and results.reason(name, measure) else number(value)
