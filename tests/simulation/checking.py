"""What has to hold at the end of a simulation: the ledger's checker, and what only a simulation can see."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Self

from taskq.broker.sqlite.packing import unpack
from taskq.wire.dead import read_dead_letter
from tests.simulation.load import ATTEMPTS, Book
from tests.simulation.process import SimulatedProcess
from tests.support.ledger import Confirmed, Dead, Expired, FinalState, History, Left, Report, Started, Wanted, check

SETTLE_S = 2.0
"""How long after its execution a delivery is settled at the latest, when the disk can be written."""

_WAITING = """
SELECT q.name, count(*) FROM message m JOIN queue q ON q.id = m.queue WHERE q.kind = 'work' GROUP BY q.name
"""
_DEAD = """
SELECT q.name, m.properties, m.body FROM message m JOIN queue q ON q.id = m.queue WHERE q.kind = 'dead' ORDER BY m.id
"""
_LEFT = """
SELECT q.name, m.properties, m.body FROM message m JOIN queue q ON q.id = m.queue WHERE q.kind = 'work' ORDER BY m.id
"""
_REST = {
    "processes": "SELECT count(*) FROM process WHERE pid NOT IN (SELECT value FROM json_each(?))",
    "consumers": """
        SELECT count(*) FROM consumer c JOIN process p ON p.id = c.process
        WHERE p.pid NOT IN (SELECT value FROM json_each(?))
    """,
    "consumers of nobody": "SELECT count(*) FROM consumer WHERE process NOT IN (SELECT id FROM process)",
    "claims": "SELECT count(*) FROM message WHERE claim IS NOT NULL",
    "queues of somebody": "SELECT count(*) FROM queue WHERE kind NOT IN ('work', 'dead')",
    "messages of no queue": "SELECT count(*) FROM message WHERE queue NOT IN (SELECT id FROM queue)",
    "dead letters that are delayed": """
        SELECT count(*) FROM message m JOIN queue q ON q.id = m.queue WHERE q.kind = 'dead' AND ready_at IS NOT NULL
    """,
}


class Oracle:
    """Looks straight into the database."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def waiting(self) -> dict[str, int]:
        """Return how many messages each work queue has, whether somebody holds them or not."""
        return dict(self._db.execute(_WAITING).fetchall())

    def is_drained(self) -> bool:
        """Say whether all jobs have come to an end."""
        return not self.waiting()

    def has_only(self, living: Iterable[SimulatedProcess]) -> bool:
        """Say whether nothing is left of processes that have ended."""
        pids = {process.pid for process in living}
        return all(pid in pids for (pid,) in self._db.execute("SELECT pid FROM process"))

    def left_behind(self, cut: Iterable[SimulatedProcess]) -> list[str]:
        """Return what should not be there when everybody has left. ``cut``: who was not given the time to tidy up; the
        next process that opens the file does it.
        """
        pids = json.dumps([process.pid for process in cut])
        counts = {
            what: self._db.execute(statement, (pids,) * statement.count("?")).fetchone()[0]
            for what, statement in _REST.items()
        }
        return [f"left behind: {count} {what}" for what, count in counts.items() if count]

    def final(self, *, timed: bool) -> FinalState:
        """Return what lies in the database. ``timed``: whether the wall clock can be trusted."""
        dead: list[Dead] = []
        for queue, properties, body in self._db.execute(_DEAD):
            letter = read_dead_letter(unpack(properties, body), queue)
            dead.append(Dead(letter.job_id, queue, letter.reason, letter.died_at if timed else None))
        left = [
            Left(queue, read_dead_letter(unpack(properties, body), queue).job_id)
            for queue, properties, body in self._db.execute(_LEFT)
        ]
        return FinalState(tuple(dead), tuple(left))


def judge(book: Book, oracle: Oracle) -> tuple[Report, list[str]]:
    """Return the ledger's report, and all that breaks a promise."""
    world = book.world
    offset = world.wall - world.now
    records = [_in_world_time(book, record) if isinstance(record, Wanted) else record for record in book.records]
    final = oracle.final(timed=not world.jumped)
    dead = tuple(
        Dead(each.job, each.queue, each.reason, None if each.died_at is None else each.died_at - offset)
        for each in final.dead
    )
    history = History((*records, *_unseen_expiries(book, dead), *world.faults.records))
    report = check(history, FinalState(dead, final.left), settle_within_s=SETTLE_S + world.faults.obstructed_s)
    wrong = [str(finding) for finding in report.violations]
    return report, wrong + _refused_that_ran(book, dead) + _tried_too_often(book)


def _in_world_time(book: Book, wanted: Wanted) -> Wanted:
    """The wall clock may have been set: what counts is when it first showed the time that was asked for."""
    eta = book.custody.etas.get(wanted.job)
    if eta is None:
        return wanted
    return Wanted(job=wanted.job, at=wanted.at, attempts=wanted.attempts, not_before=book.world.reached(eta - 2e-6))


def _unseen_expiries(book: Book, dead: Iterable[Dead]) -> list[Expired]:
    """Jobs that were dropped because their time was over, by a worker that was killed before it could say so."""
    world = book.world
    gone = {process.pid for process in world.processes if process.killed}
    ended = {record.job for record in book.records if isinstance(record, Expired)} | {each.job for each in dead}
    returned = {record.job for record in book.records if getattr(record, "outcome", None) == "returned"}
    found: list[Expired] = []
    for job, deadline in sorted(book.deadlines.items()):
        until = world.reached(deadline)
        if job in ended or job in returned or until == inf:
            continue
        if any(pid in gone and at >= until - 1e-3 for pid, at in book.custody.taken.get(job, ())):
            found.append(Expired(job=job, at=until))
    return found


def _refused_that_ran(book: Book, dead: Iterable[Dead]) -> list[str]:
    seen = {record.job for record in book.records if isinstance(record, Started)} | {each.job for each in dead}
    confirmed = {record.job for record in book.records if isinstance(record, Confirmed)}
    return [f"refused, and yet there: {job}" for job in sorted((seen & book.refused) - confirmed)]


def _tried_too_often(book: Book) -> list[str]:
    """Errors count attempts, so a job has no more of them than its policy says, unless it was run twice at once."""
    attempts = {record.job: record.attempts for record in book.records if isinstance(record, Wanted)}
    assert set(attempts.values()) <= set(ATTEMPTS.values())
    if book.world.faults.records:
        return []
    return [
        f"failed {times} times with {attempts[job]} attempts: {job}"
        for job, times in sorted(book.failed.items())
        if times > attempts[job]
    ]
