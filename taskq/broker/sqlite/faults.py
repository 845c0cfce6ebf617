"""What SQLite complained about, sorted by what can be done, and the error that says it. Pure."""

from __future__ import annotations

import sqlite3
from enum import Enum, auto

from taskq.errors import AccessRefused, BrokerBlocked, BrokerError, BrokerUnreachable


class Fault(Enum):
    """The kinds of fault a database makes."""

    LOCKED = auto()
    """Somebody else holds the file; it passes."""
    FULL = auto()
    """It cannot be written now; it passes when somebody makes room."""
    REFUSED = auto()
    """The file may not be written."""
    BROKEN = auto()
    """The file is no usable database."""


_BY_CODE = {
    sqlite3.SQLITE_BUSY: Fault.LOCKED,
    sqlite3.SQLITE_LOCKED: Fault.LOCKED,
    sqlite3.SQLITE_PROTOCOL: Fault.LOCKED,
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_IOERR: Fault.FULL,
    sqlite3.SQLITE_IOERR_READ: Fault.BROKEN,
    sqlite3.SQLITE_IOERR_SHORT_READ: Fault.BROKEN,
    sqlite3.SQLITE_IOERR_CORRUPTFS: Fault.BROKEN,
    sqlite3.SQLITE_NOMEM: Fault.FULL,
    sqlite3.SQLITE_READONLY: Fault.REFUSED,
    sqlite3.SQLITE_PERM: Fault.REFUSED,
    sqlite3.SQLITE_AUTH: Fault.REFUSED,
    sqlite3.SQLITE_CANTOPEN: Fault.BROKEN,
    sqlite3.SQLITE_CORRUPT: Fault.BROKEN,
    sqlite3.SQLITE_NOTADB: Fault.BROKEN,
}


def fault_of(error: sqlite3.Error) -> Fault | None:
    """Return the kind, or ``None`` for an error that is about one statement and not about the database."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return _BY_CODE.get(code) or _BY_CODE.get(code & 0xFF)
    # Python itself raises this one without a code, when the file's text cannot be read.
    return Fault.BROKEN if type(error) is sqlite3.DatabaseError else None


def reason_of(fault: Fault, label: str, error: Exception) -> str:
    """Return what is wrong, for who is told that nothing can be taken from the database now."""
    match fault:
        case Fault.LOCKED:
            return f"{label} is locked by another program; {_WHO_HAS_IT}"
        case Fault.FULL:
            return f"{label} cannot be written ({error}); free some space on its disk"
        case Fault.REFUSED:
            return f"{label} may not be written ({error}); {PERMISSIONS}"
        case Fault.BROKEN:
            return f"{label} cannot be used ({error}); {_RESTORE}"


def error_of(fault: Fault, label: str, error: sqlite3.Error) -> BrokerError:
    """Return the error for a caller whose operation was not carried out."""
    match fault:
        case Fault.LOCKED:
            return locked(label)
        case Fault.FULL:
            return BrokerBlocked(
                f"{label} cannot be written ({error}); nothing was stored. Free some space on its disk and try again"
            )
        case Fault.REFUSED:
            return AccessRefused(reason_of(fault, label, error))
        case Fault.BROKEN:
            return BrokerUnreachable(reason_of(fault, label, error))


class FileGone(BrokerUnreachable):
    """The file that was opened is not the one at its path any more; ``change`` says what became of it."""

    def __init__(self, label: str, change: str) -> None:
        super().__init__(
            f"{label} {change} while this program had it open, so nothing was stored that others see (a job may lie in "
            "a file that was moved away), and nothing will be. Start the program again: it opens the file that is "
            "there then"
        )


_RESTORE = (
    "check the disk, then restore the file from a backup, or move it away and start with a new one (its -wal and -shm "
    "go with it)"
)
_WHO_HAS_IT = (
    "look for an open transaction in a database tool, a backup, or a stopped process (`fuser` on the file names them)"
)
PERMISSIONS = (
    "give this user the right to write the file and its folder (SQLite keeps two files beside it), or set TASKQ_URL "
    "to another place"
)


def locked(label: str) -> BrokerBlocked:
    """Return the error of an operation that never got the lock."""
    return BrokerBlocked(f"{label} is locked by another program for too long, so nothing was stored; {_WHO_HAS_IT}")
