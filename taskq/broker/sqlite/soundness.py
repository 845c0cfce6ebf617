"""Whether a database is sound: cut off somewhere, or left behind by a crash with a log beside it of another file.

Theory of operation. What was committed last is in the log (``-wal``) until the last process closes the file. After a
crash of all of them, SQLite replays it over the file that is there, whichever that is: where a backup was put back and
the log was not taken away, pages of two databases are mixed, which SQLite sees only when it comes across one. So who
opens such a file first looks it through, for two seconds at most, on a connection that cannot write: nothing of the log
is written into the file before.

It finds pages that do not fit together. What fits is as good as any other database: SQLite keeps no sums of its pages.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from taskq.broker.sqlite.process import Process, this_process
from taskq.errors import BrokerUnreachable

MayLive = Callable[[Process], bool]

_LONGEST_S = 2.0
_STEPS = 10_000  # of SQLite's machine between two looks at the clock; a millisecond or so
_PROCESSES = "SELECT pid, start_time, boot_id, pid_namespace FROM process"


def may_live(other: Process) -> bool:
    """Say of another process whether it lives, or cannot be seen from here."""
    me = this_process()
    return other.boot_id == me.boot_id and not (other.is_seen_from(me) and other.is_gone())


def check_sound(db: sqlite3.Connection, path: Path, label: str, may_live: MayLive) -> None:
    """Raise :class:`BrokerUnreachable`, or SQLite's own error, for a database that is damaged, as far as that shows.

    ``may_live`` says of a process that has it open whether that is so, as far as can be seen from here.
    """
    if not _has_log(path):
        _check_end(db, path, label)
    elif not any(may_live(Process(*row)) for row in db.execute(_PROCESSES).fetchall()):
        _look_through(db, path, label)


def _check_end(db: sqlite3.Connection, path: Path, label: str) -> None:
    """Refuse a file that ends in the middle of a page; with a log, what is missing may be there."""
    (page_size,) = db.execute("PRAGMA page_size").fetchone()
    if path.stat().st_size % page_size:
        raise BrokerUnreachable(
            f"{label} ends in the middle of a page, so it was cut off; restore it from a backup, or move it away and "
            "start with a new one. It was not changed"
        )


def _look_through(db: sqlite3.Connection, path: Path, label: str) -> None:
    until = time.monotonic() + _LONGEST_S
    db.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    try:
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:  # its time is over: as far as it got, all was well
        return
    finally:
        db.set_progress_handler(None, 0)
    if found != "ok":
        raise BrokerUnreachable(
            f"{label} is damaged ({' '.join(str(found).split())}); is the log {path}-wal that of another file? Restore "
            "the file from a backup, without that log, or move both away and start with a new one. Nothing was changed"
        )


def _has_log(path: Path) -> bool:
    try:
        return Path(f"{path}-wal").stat().st_size > 0
    except OSError:
        return False
