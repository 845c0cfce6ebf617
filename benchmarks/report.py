"""Writes `docs/performance.md` between its markers, and the charts beside it, from a run's results.

What stands between ``<!-- bench: NAME -->`` and ``<!-- /bench: NAME -->`` is generated; all else is written by hand
and stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks import chart, tables
from benchmarks.contender import Role, Store
from benchmarks.results import Results

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "performance.md"
FOLDER = DOCS / "performance"

_OTHERS = (Store.SQLITE, Store.REDIS, Store.POSTGRESQL)


class NoMarker(Exception):
    """The page has no place for a section."""


def write(results: Results) -> list[Path]:
    """Write the page, the charts and a copy of the results; return what was written."""
    FOLDER.mkdir(exist_ok=True)
    PAGE.write_text(filled(PAGE.read_text(), sections(results)))
    for name, drawn in charts(results).items():
        (FOLDER / f"{name}.svg").write_text(drawn)
    results.save(FOLDER / "results.json")
    return [PAGE, *sorted(FOLDER.iterdir())]


def filled(page: str, named: Mapping[str, str]) -> str:
    """Return the page with each section between its markers. Raises :class:`NoMarker`."""
    for name, text in named.items():
        begin, end = f"<!-- bench: {name} -->", f"<!-- /bench: {name} -->"
        new = f"{begin}\n\n{text}\n\n{end}"
        parts = re.split(f"{re.escape(begin)}.*?{re.escape(end)}", page, flags=re.DOTALL)
        if len(parts) != 2:
            raise NoMarker(f"{len(parts) - 1} places for {begin} … {end}, which must be there once")
        page = new.join(parts)
    return page


def sections(results: Results) -> dict[str, str]:
    """Return the generated parts of the page."""
    return {
        "machine": tables.machine(results),
        "goals": tables.goals(results),
        "rabbitmq": tables.contenders(results, [Store.RABBITMQ]),
        "ratios": tables.ratios(results),
        "stores": tables.contenders(results, _OTHERS),
        "failures": tables.failures(results),
        "in flight": tables.growth(results, "in flight", "in flight"),
        "payload": tables.growth(results, "payload", "bytes"),
        "queues": tables.growth(results, "queues", "queues"),
        "workers": tables.growth(results, "workers", "processes"),
    }


def charts(results: Results) -> dict[str, str]:
    """Return the charts by the names of their files."""
    return {
        "enqueue": chart.bars("Confirmed enqueue, 1,000 in flight, jobs/s", _bars(results, "enqueue")),
        "drain": chart.bars("Drain, one worker process, concurrency 1,000, jobs/s", _bars(results, "drain")),
        "calls": chart.bars("Calls, 100 in flight, calls/s", _bars(results, "call")),
        "in-flight": _curve(results, "in flight", "Enqueue, by jobs in flight, jobs/s", "jobs in flight"),
        "payload": _curve(results, "payload", "By size of the job, jobs/s", "bytes", ("enqueue", "drain")),
        "depth": chart.lines("By length of the queue, jobs/s", "jobs in the queue", _depth(results)),
        "memory": chart.lines("Memory of one worker, PSS, MB", "jobs executed", _memory(results)),
    }


def _bars(results: Results, measure: str) -> list[tuple[str, float, str]]:
    return [
        (each.title, value, Role(each.role).value)
        for each in results.entrants
        if each.store == Store.RABBITMQ and (value := results.median(each.name, measure)) is not None
    ]


def _curve(results: Results, curve: str, title: str, x: str, columns: tuple[str, ...] = ("enqueue",)) -> str:
    series = {}
    for prefix, broker in (("", "RabbitMQ"), ("sqlite ", "SQLite")):
        for column in columns:
            points = [(each["x"], each[column]) for each in results.growth.get(prefix + curve, []) if column in each]
            if points:
                series[f"{broker}: {column}"] = points
    return chart.lines(title, x, series, log_x=True)


def _depth(results: Results) -> dict[str, chart.Points]:
    series: dict[str, chart.Points] = {}
    for prefix, broker in (("", "RabbitMQ"), ("sqlite ", "SQLite")):
        for column in ("enqueue", "drain"):
            points = [(each["x"], each[column]) for each in results.growth.get(f"{prefix}depth", []) if column in each]
            if points:
                series[f"{broker}: {column}"] = sorted(points)
    return series


def _memory(results: Results) -> dict[str, chart.Points]:
    return {
        broker: points
        for prefix, broker in (("", "RabbitMQ"), ("sqlite ", "SQLite"))
        if (
            points := [
                (each["executed"], each["pss_mb"])
                for each in results.growth.get(f"{prefix}depth", [])
                if "pss_mb" in each
            ]
        )
    }
