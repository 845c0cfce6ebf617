"""Opening a database: its pragmas, its schema, and the check that it is ours. It never changes a file of another
application or of a newer taskq; one of an older taskq is brought up to date.

The schema is made or changed in one transaction, for a new file before it is switched to WAL, so that there is never a
file with half a schema. Several processes may open a file at once: the first does it, the others find it done. A
process of the older taskq that still has the file open goes on: what is new is in tables and columns that it does not
name.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from taskq.broker.sqlite.faults import PERMISSIONS, Fault, error_of, fault_of
from taskq.broker.sqlite.location import Location
from taskq.errors import AccessRefused, BrokerUnreachable

APPLICATION_ID = 0x7461736B  # "task"
SCHEMA_VERSION = 2
_SCRIPTS = {0: "schema.sql", 1: "schema_1_to_2.sql"}  # by the version that the file has; 0 is an empty one
_OLDEST_SQLITE = (3, 37, 0)  # STRICT tables, RETURNING
_PAUSE_S = 0.01
_STATEMENTS = 256  # prepared statements that a connection keeps


def open_database(
    location: Location, timeout_s: float, *, factory: type[sqlite3.Connection] = sqlite3.Connection
) -> sqlite3.Connection:
    """Open the database at ``location``, making it when there is none, and wait up to ``timeout_s`` for its lock.

    The connection is one of ``factory``.
    Raises :class:`BrokerUnreachable` or :class:`AccessRefused`, which say what to do.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise BrokerUnreachable(f"SQLite {sqlite3.sqlite_version} is too old; taskq needs 3.37 or newer")
    try:
        if location.path is not None:
            _check_place(location.path, location.label)
        return _opened(location, timeout_s, factory)
    except PermissionError as error:
        raise AccessRefused(f"{location.label}: a folder on the way may not be entered; {PERMISSIONS}") from error
    except OSError as error:  # a name too long, a loop of links
        raise BrokerUnreachable(f"{location.label}: {error.strerror}; choose another place with TASKQ_URL") from error
    except sqlite3.Error as error:
        fault = fault_of(error) or Fault.BROKEN
        if fault is Fault.REFUSED:
            raise error_of(fault, location.label, error) from error
        raise BrokerUnreachable(str(error_of(fault, location.label, error))) from error


def _check_place(path: Path, label: str) -> None:
    if path.is_dir():
        raise BrokerUnreachable(f"{label} is a folder; name a file in it, as sqlite:///…/taskq.db")
    if not path.parent.is_dir():
        raise BrokerUnreachable(f"{label}: the folder {path.parent} does not exist; make it, or set TASKQ_URL")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise AccessRefused(f"{label}: the folder may not be written; {PERMISSIONS}")
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise AccessRefused(f"{label}: the file may not be written; {PERMISSIONS}")


def _opened(location: Location, timeout_s: float, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
    if location.path is None:
        return _prepared(_connect(":memory:", timeout_s, factory), location, timeout_s)
    uri = location.path.as_uri()
    if not location.path.exists():
        _make_private(location.path)
    elif location.path.stat().st_size:
        _check_before_writing(uri, location.label, factory)
    return _prepared(_connect(f"{uri}?mode=rwc", timeout_s, factory), location, timeout_s)


def _make_private(path: Path) -> None:
    """Make the file so that only its owner may read it: jobs hold what they hold. SQLite makes the others alike.

    Without opening it: closing a file drops the locks that this process has on it, also those of another thread.
    """
    try:
        os.mknod(path, 0o600 | stat.S_IFREG)
    except FileExistsError:
        pass  # another process was faster
    except PermissionError:  # macOS lets nobody but root do that
        path.touch(0o600)


def _check_before_writing(uri: str, label: str, factory: type[sqlite3.Connection]) -> None:
    """Look at the file through a connection that cannot write, since closing one that can may already change it."""
    db = _connect(f"{uri}?mode=ro", 1.0, factory)
    try:
        _version_now(db, label)
    except sqlite3.OperationalError:
        pass  # a read-only connection cannot finish what a crash left behind; the check is made again later
    finally:
        db.close()


def _connect(name: str, timeout_s: float, factory: type[sqlite3.Connection]) -> sqlite3.Connection:
    return sqlite3.connect(
        name,
        factory=factory,
        uri=True,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,  # opened and used in the engine's thread, closed by it too; tests look inside
        cached_statements=_STATEMENTS,
    )


def _prepared(db: sqlite3.Connection, location: Location, timeout_s: float) -> sqlite3.Connection:
    label = location.label
    try:
        if _version_now(db, label) < SCHEMA_VERSION:
            _bring_up(db, label)
        _switch_to_wal(db, timeout_s)
        db.execute(f"PRAGMA synchronous = {location.synchronous}")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("PRAGMA busy_timeout = 0")  # the engine waits itself, so that it can tell its callers
    except BaseException:
        db.close()
        raise
    return db


def _switch_to_wal(db: sqlite3.Connection, timeout_s: float) -> None:
    """Repeat it while others are at it: SQLite does not wait for two that switch at once."""
    until = time.monotonic() + timeout_s
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if fault_of(error) is not Fault.LOCKED or time.monotonic() > until:
                raise
            time.sleep(_PAUSE_S)


def _version_now(db: sqlite3.Connection, label: str) -> int:
    """Ask :func:`_version` at one moment, since another process may be making the file."""
    db.execute("BEGIN")
    try:
        return _version(db, label)
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _version(db: sqlite3.Connection, label: str) -> int:
    """Return which version of our schema the database has; 0 is an empty one. Raises for one that is not ours."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION_ID and 1 <= version <= SCHEMA_VERSION:
        return int(version)
    if application == APPLICATION_ID:
        raise BrokerUnreachable(
            f"{label} has schema version {version}, this taskq knows {SCHEMA_VERSION}; upgrade taskq here, or use "
            "another file. It was not changed"
        )
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application or version or tables:
        raise BrokerUnreachable(f"{label} belongs to another application; use another file. It was not changed")
    return 0


def _bring_up(db: sqlite3.Connection, label: str) -> None:
    """Make the schema, or change that of an older version. Foreign keys are off until then."""
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("BEGIN EXCLUSIVE")
    try:
        version = _version(db, label)
        if version < SCHEMA_VERSION:  # another process may have been faster
            for statement in _statements(files("taskq.broker.sqlite").joinpath(_SCRIPTS[version]).read_text("utf-8")):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Split a script; ``executescript`` would end our transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
