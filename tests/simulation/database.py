"""The connection of a simulated process to the database: SQLite itself, on which a statement may fail.

The file is a real one, and each turn of an engine is a real transaction. What a turn lasts is virtual: for as long, the
others find the file locked, as they would.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from taskq.broker.sqlite.database import open_database
from taskq.broker.sqlite.location import Location

CODES = {
    "full": sqlite3.SQLITE_FULL,
    "io error": sqlite3.SQLITE_IOERR,
    "no memory": sqlite3.SQLITE_NOMEM,
    "busy": sqlite3.SQLITE_BUSY,
    "read-only": sqlite3.SQLITE_READONLY,
    "cannot open": sqlite3.SQLITE_CANTOPEN,
    "corrupt": sqlite3.SQLITE_CORRUPT,
}
"""What may happen, and as which error SQLite tells it."""


@dataclass(slots=True)
class Trouble:
    """An error to come: ``code``, a name of :data:`CODES`, at the statement number ``at``, or at the commit (0).

    ``ends``: SQLite has rolled the transaction back by itself, as it does where it cannot go on.
    """

    code: str
    at: int
    ends: bool


Before = Callable[["SimulatedConnection", str], Trouble | None]


class SimulatedConnection(sqlite3.Connection):
    """Asks ``before`` about each statement."""

    before: ClassVar[Before]

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        trouble = type(self).before(self, statement)
        if trouble is not None:
            if trouble.ends and self.in_transaction:
                super().execute("ROLLBACK")
            raise error(trouble.code)
        return super().execute(statement, *values)


def error(code: str) -> sqlite3.OperationalError:
    """Return an error as SQLite's own."""
    error = sqlite3.OperationalError(f"simulated: {code}")
    error.sqlite_errorcode = CODES[code]
    error.sqlite_errorname = code
    return error


def opener(before_: Before) -> Callable[[Location, float], sqlite3.Connection]:
    """Return what opens a database whose statements are asked about."""

    class Own(SimulatedConnection):
        before = staticmethod(before_)

    return lambda location, timeout_s: open_database(location, timeout_s, factory=Own)


def new_file(folder: Path) -> Path:
    """Make a database as taskq does, to be copied: its schema takes longer than all else."""
    path = folder / "new.db"
    open_database(Location(path, f"sqlite:///{path}"), 1.0).close()
    return path
