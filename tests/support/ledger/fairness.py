"""Whether free workers got the waiting jobs, as the ledger tells it: for workers that run one job at a time. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import inf

from tests.support.ledger.history import History
from tests.support.ledger.records import Confirmed, Ended, Started


@dataclass(frozen=True, slots=True)
class UnfairWait:
    """``job`` waited from ``since`` until ``until`` while the worker ``pid`` ran nothing, or too much."""

    job: str
    pid: int
    since: float
    until: float


def unfair_waits(history: History, pids: Collection[int], *, turn_s: float) -> list[UnfairWait]:
    """Return each wait of a confirmed job beside a free worker that lasted longer than ``turn_s`` seconds.

    Workers have to consume before the first job is sent, and no job may have an ETA. A worker that runs two jobs at
    once is unfair too: it took one that another could have run.
    """
    found: list[UnfairWait] = []
    for pid in pids:
        found += _waits(history, pid, turn_s)
        found += _overlaps(history, pid)
    return found


def _waits(history: History, pid: int, turn_s: float) -> Iterator[UnfairWait]:
    starts = {start.job: start.at for start in history.of(Started)}
    for confirmed in history.of(Confirmed):
        waited_until = starts.get(confirmed.job, inf)
        for free_from, free_until in _free(history, pid):
            since, until = max(confirmed.at, free_from), min(waited_until, free_until)
            if until - since > turn_s:
                yield UnfairWait(confirmed.job, pid, since, until)


def _free(history: History, pid: int) -> Iterator[tuple[float, float]]:
    """Return the times in which a worker ran nothing."""
    free_from = -inf
    for started, ended in _runs(history, pid):
        yield free_from, started
        free_from = max(free_from, ended)
    yield free_from, inf


def _overlaps(history: History, pid: int) -> Iterator[UnfairWait]:
    busy_until, before = -inf, ""
    for run, (started, ended) in zip(_own(history, pid), _runs(history, pid), strict=True):
        if started < busy_until:
            yield UnfairWait(f"{run.job} beside {before}", pid, started, min(ended, busy_until))
        busy_until, before = max(busy_until, ended), run.job


def _runs(history: History, pid: int) -> list[tuple[float, float]]:
    ends = {(end.job, end.execution): end.at for end in history.of(Ended) if end.pid == pid}
    return [(start.at, ends.get((start.job, start.execution), inf)) for start in _own(history, pid)]


def _own(history: History, pid: int) -> list[Started]:
    return [start for start in history.of(Started) if start.pid == pid]
