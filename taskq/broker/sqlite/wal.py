"""The size of the file beside the database that holds what was committed last: SQLite's write-ahead log.

Theory of operation. SQLite begins the log anew when all of it is in the database and nobody reads from it. Each commit
above 1,000 pages brings it there as far as the oldest reader allows, and it stays at some 4 MB. But where looks follow
each other without a gap (dashboards on a long queue), there is always one that reads, and the log grows for as long as
there are. So it is looked at now and then, and above a limit everything is brought over and the log cut to nothing,
which waits for the readers of that moment: those that come later find all they need in the database. A reader that does
not end (a backup, a database tool) is not waited for; the next try is when the log has grown as much again.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

LIMIT_BYTES = 32 * 1024 * 1024
_WAIT_MS = 200  # for readers; looks of ours are over by then


class WalBound:
    """Of one file. ``keep`` is called between transactions, in the thread that has the database."""

    def __init__(self, path: Path) -> None:
        self._wal = f"{path}-wal"
        self._limit = LIMIT_BYTES

    def keep(self, db: sqlite3.Connection) -> None:
        """Cut the log when it is above its limit."""
        size = self._size()
        if size <= self._limit:
            return
        self._limit = LIMIT_BYTES if _cut(db) else size + LIMIT_BYTES

    def _size(self) -> int:
        try:
            return Path(self._wal).stat().st_size
        except OSError:
            return 0


def _cut(db: sqlite3.Connection) -> bool:
    """Say whether it could be done."""
    db.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")
    try:
        ((busy, _, _),) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error:  # a disk that is full or broken: that is told to whoever writes
        return False
    finally:
        db.execute("PRAGMA busy_timeout = 0")
    return not busy
