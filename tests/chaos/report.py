"""Writes the tables of `docs/reliability.md` from saved outcomes, and keeps those beside it. Pure, but for `write`.

What stands between ``<!-- chaos: NAME -->`` and ``<!-- /chaos: NAME -->`` is generated; all else is written by hand and
stays.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path
from statistics import median

from tests.chaos.outcome import Outcome, Tried

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "reliability.md"
FOLDER = DOCS / "reliability"


def write(files: Sequence[Path]) -> None:
    """Keep the outcomes in ``files`` instead of those that were there, and write the page's tables from them."""
    outcomes = [Outcome.load(path) for path in files]
    FOLDER.mkdir(exist_ok=True)
    kept = {FOLDER / path.name for path in files}
    for path, outcome in zip(files, outcomes, strict=True):
        if path.resolve().parent != FOLDER.resolve():
            shutil.copyfile(path, FOLDER / path.name)
        assert Outcome.load(FOLDER / path.name) == outcome
    for path in set(FOLDER.glob("*.json")) - kept:
        path.unlink()
    PAGE.write_text(filled(PAGE.read_text(), outcomes))


def committed() -> list[Outcome]:
    """Return the outcomes that are kept beside the page, in the order of their names."""
    return [Outcome.load(path) for path in sorted(FOLDER.glob("*.json"))]


def filled(page: str, outcomes: Sequence[Outcome]) -> str:
    """Return the page with its tables between their markers, each of which must be there once."""
    ordered = sorted(outcomes, key=lambda outcome: (outcome.site, outcome.seed))
    for name, text in {"runs": runs(ordered), "faults": faults(ordered)}.items():
        begin, end = f"<!-- chaos: {name} -->", f"<!-- /chaos: {name} -->"
        parts = re.split(f"{re.escape(begin)}.*?{re.escape(end)}", page, flags=re.DOTALL)
        assert len(parts) == 2, f"{len(parts) - 1} places for {begin} … {end}"
        page = f"{begin}\n\n{text}\n\n{end}".join(parts)
    return page


def runs(outcomes: Iterable[Outcome]) -> str:
    """Return the table of what was run, a row for each run."""
    heads = ("broker", "faults", "min", "jobs", "executions", "dead letters", "lost", "doubled", "command")
    rows = [
        (
            each.site,
            f"{len(each.tried):,}",
            f"{each.seconds / 60:.0f}",
            f"{each.confirmed:,}",
            f"{each.executions:,}",
            f"{each.dead:,}",
            f"{each.lost:,}",
            f"{each.duplicates:,}",
            f"`{each.command}`",
        )
        for each in outcomes
    ]
    return _table(heads, rows)


def faults(outcomes: Sequence[Outcome]) -> str:
    """Return a table for each broker, a row for each fault."""
    by_site: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_site[outcome.site].append(outcome)
    return "\n\n".join(f"**{site}**\n\n{_of_site(found)}" for site, found in by_site.items())


def _of_site(outcomes: Sequence[Outcome]) -> str:
    tried: dict[str, list[Tried]] = defaultdict(list)
    lost: Counter[str] = Counter()
    doubled: Counter[str] = Counter()
    for outcome in outcomes:
        for each in outcome.tried:
            tried[each.name].append(each)
        lost.update(dict.fromkeys({each.name for each in outcome.tried}, outcome.lost))
        doubled.update(outcome.duplicates_by)
    heads = ("fault", "tried", "lost", "doubled", "recovered: median, s", "p95, s", "promised, s")
    rows = [_row(name, tried[name], lost[name], doubled[name]) for name in sorted(tried)]
    total = ("all", str(sum(map(len, tried.values()))), str(sum(outcome.lost for outcome in outcomes)))
    return _table(heads, [*rows, (*total, str(sum(outcome.duplicates for outcome in outcomes)), "", "", "")])


def _row(name: str, tried: Sequence[Tried], lost: int, doubled: int) -> tuple[str, ...]:
    took = sorted(each.recovered_s for each in tried if each.recovered_s is not None)
    middle = f"{median(took):.2f}" if took else "–"
    most = f"{took[ceil(0.95 * len(took)) - 1]:.2f}" if took else "–"
    bound = tried[0].bound_s
    return name, str(len(tried)), str(lost), str(doubled), middle, most, "–" if bound is None else f"{bound:g}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
