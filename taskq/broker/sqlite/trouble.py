"""What SQLite complained about, sorted by what can be done, and the error that says it. Pure."""

from __future__ import annotations

import sqlite3
from enum import Enum, auto

from taskq.errors import AccessRefused, BrokerBlocked, BrokerError, BrokerUnreachable


class Trouble(Enum):
    """The kinds of trouble a database makes."""

    LOCKED = auto()
    """Somebody else holds the file; it passes."""
    FULL = auto()
    """It cannot be written now; it passes when somebody makes room."""
    REFUSED = auto()
    """The file may not be written."""
    BROKEN = auto()
    """The file is no usable database."""


_BY_CODE = {
    sqlite3.SQLITE_BUSY: Trouble.LOCKED,
    sqlite3.SQLITE_LOCKED: Trouble.LOCKED,
    sqlite3.SQLITE_PROTOCOL: Trouble.LOCKED,
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_IOERR: Trouble.FULL,
    sqlite3.SQLITE_NOMEM: Trouble.FULL,
    sqlite3.SQLITE_READONLY: Trouble.REFUSED,
    sqlite3.SQLITE_PERM: Trouble.REFUSED,
    sqlite3.SQLITE_AUTH: Trouble.REFUSED,
    sqlite3.SQLITE_CANTOPEN: Trouble.BROKEN,
    sqlite3.SQLITE_CORRUPT: Trouble.BROKEN,
    sqlite3.SQLITE_NOTADB: Trouble.BROKEN,
}


def trouble_of(error: sqlite3.Error) -> Trouble | None:
    """Return the kind, or ``None`` for an error that is about one statement and not about the database."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return _BY_CODE.get(code & 0xFF)
    # Python itself raises this one without a code, when the file's text cannot be read.
    return Trouble.BROKEN if type(error) is sqlite3.DatabaseError else None


def error_of(trouble: Trouble, label: str, error: sqlite3.Error) -> BrokerError:
    """Return the error for a caller whose operation was not carried out."""
    match trouble:
        case Trouble.LOCKED:
            return locked(label)
        case Trouble.FULL:
            return BrokerBlocked(
                f"{label} cannot be written ({error}); nothing was stored. Free some space on its disk and try again"
            )
        case Trouble.REFUSED:
            return AccessRefused(f"{label} may not be written ({error}); {PERMISSIONS}")
        case Trouble.BROKEN:
            return BrokerUnreachable(
                f"{label} cannot be used ({error}); check the disk, then restore the file from a backup, or move "
                "it away and start with a new one"
            )


PERMISSIONS = (
    "give this user the right to write the file and its folder (SQLite keeps two files beside it), or set TASKQ_URL "
    "to another place"
)


def locked(label: str) -> BrokerBlocked:
    """Return the error of an operation that never got the lock."""
    return BrokerBlocked(
        f"{label} is locked by another program for too long, so nothing was stored; look for an open transaction in a "
        "database tool, a backup, or a stopped process (`fuser` on the file names them)"
    )
