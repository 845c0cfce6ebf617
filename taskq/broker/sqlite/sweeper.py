"""Processes that are dead: who is, and what becomes of what they held.

Theory of operation. Every half second a process looks at the others' rows. Dead is: pid gone or given to another, where
that can be seen; another boot; or a lease that is over. A file that somebody had locked lets nobody renew, and the
first to get the lock again must not sweep the others. So a lease counts as over when it was found over in one
transaction, and in another one, a while later, is still not renewed; one that could not be stored (a full disk) counts
for nothing, since it let nobody renew either. Where the system has no boot id, a lease of an
earlier boot may end far in the future, since the clock began anew: one that is longer than any counts as over too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.claiming import release
from taskq.broker.sqlite.process import Process
from taskq.broker.sqlite.subscription import drop_queue

_OTHERS = "SELECT id, lease_until, pid, start_time, boot_id, pid_namespace FROM process WHERE id != ?"
_CONSUMERS = "SELECT id FROM consumer WHERE process = ?"
_OWN_QUEUES = "SELECT id FROM queue WHERE owner = ?"
_REMOVE = "DELETE FROM process WHERE id = ?"
_LONGEST_LEASE_S = 600.0


class Sweeper:
    """Finds the dead processes among the others. ``doubt_s``: how long a lease that is over may still be renewed.

    ``is_gone`` says of a process that can be seen from here whether it has ended.
    """

    def __init__(self, me: Process, doubt_s: float, is_gone: Callable[[Process], bool]) -> None:
        self._me = me
        self._doubt_s = doubt_s
        self._is_gone = is_gone
        self._suspects: dict[int, tuple[float, float]] = {}  # their lease, and when it was found over

    def sees_suspects(self, db: sqlite3.Connection, own_row: int, now: float) -> bool:
        """Say whether it is worth a transaction to look closer."""
        others = db.execute(_OTHERS, (own_row,)).fetchall()
        return any(_is_over(until, now) or self._is_certain(Process(*process)) for _, until, *process in others)

    def dead(self, db: sqlite3.Connection, own_row: int, now: float) -> list[int]:
        """Return the rows of dead processes; called in a transaction, where nobody else can renew or sweep."""
        suspects: dict[int, tuple[float, float]] = {}
        dead: list[int] = []
        for row, lease_until, *process in db.execute(_OTHERS, (own_row,)):
            if self._is_certain(Process(*process)):
                dead.append(row)
            elif _is_over(lease_until, now):
                known, since = self._suspects.get(row, (lease_until, now))
                since = since if known == lease_until else now
                suspects[row] = (lease_until, since)
                if now - since >= self._doubt_s:
                    dead.append(row)
        self._suspects = suspects
        return dead

    def forget(self) -> None:
        """Begin anew: what was found last could not be stored."""
        self._suspects.clear()

    def _is_certain(self, other: Process) -> bool:
        """Say whether it is dead whatever its lease says."""
        return other.boot_id != self._me.boot_id or (other.is_seen_from(self._me) and self._is_gone(other))


def _is_over(lease_until: float, now: float) -> bool:
    return not now <= lease_until <= now + _LONGEST_LEASE_S


def remove_process(batch: Batch, process: int) -> None:
    """Give back what a process held, and remove its consumers, its own queues and its row."""
    batch.write()
    for (consumer,) in batch.db.execute(_CONSUMERS, (process,)).fetchall():
        release(batch, consumer)
    for (queue,) in batch.db.execute(_OWN_QUEUES, (process,)).fetchall():
        drop_queue(batch, queue)
    batch.db.execute(_REMOVE, (process,))
