"""The thread that drives one database: it takes everything that waits, runs it in one transaction, and tells the loops.

Theory of operation. Operations wait in one list, in the order of their submission. The thread first gets the lock
of the database (``BEGIN IMMEDIATE``) and only then takes the list: what arrived while it waited for the lock, or for
the last commit to reach the disk, shares the next commit. So the batch grows with the load by itself. Looks come after
the commit of the batch that they are in, or alone when others have the lock: they hold none, however much they count.

An operation's own error (a :class:`TaskqError`, raised before it writes) is its own result. An error of the database
rolls the whole batch back. What it means is told by :mod:`~taskq.broker.sqlite.faults`: a lock is waited for; while
the disk is full the patient operations (settles, claims) wait and the others fail; anything else fails all. An error
that is none of these comes from one operation: then each is run again in a transaction of its own, so that it fails
alone.

A file that is not at its path any more (:mod:`~taskq.broker.sqlite.identity`) is the end: all that waits fails, and
what comes later.

All results and pokes of a batch reach each loop in one call. The thread also keeps the membership (leases, sweeps,
polls) at its own pace, whether the loops are blocked or not.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import closing
from typing import Any

from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.database import open_database
from taskq.broker.sqlite.faults import Fault, error_of, fault_of
from taskq.broker.sqlite.identity import Identity
from taskq.broker.sqlite.location import Location
from taskq.broker.sqlite.loopcalls import tell_loops
from taskq.broker.sqlite.membership import Membership
from taskq.broker.sqlite.operation import Operation
from taskq.broker.sqlite.settling import Settle
from taskq.broker.sqlite.trouble import Trouble
from taskq.errors import TaskqError

_PAUSE_S = 0.25  # between two tries on a disk that is full
_LOOK_S = 0.5  # between two regular looks at the file
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.0005, 0.02  # between two tries for the lock

AnyOperation = Operation[Any]


class Engine:
    """One connection and its thread. ``opened`` is done when the database can be used, or failed to open."""

    def __init__(self, location: Location, timeout_s: float, membership: Membership) -> None:
        self.location = location
        self.opened: Future[None] = Future()
        self.ended: Future[None] = Future()
        self.trouble = Trouble(location.label)
        self._identity = Identity(location.path) if location.path is not None else None
        self._next_look = 0.0
        self._timeout_s = timeout_s
        self._membership = membership
        self._lock = threading.Condition()
        self._waiting: list[AnyOperation] = []
        self._closing = False
        self._lock_wait_s = _FIRST_WAIT_S
        self._needed: bool = False  # a transaction for the membership alone
        self._thread = threading.Thread(target=self._live, name=f"taskq {location.label}", daemon=True)
        self._thread.start()

    # On the loops.

    def hand_over(self, operations: Iterable[AnyOperation]) -> None:
        """Queue operations, in order."""
        with self._lock:
            self._waiting.extend(operations)
            self._lock.notify()

    def withdraw(self, operation: AnyOperation, error: Exception) -> bool:
        """Fail an operation that has not started; return ``False`` when it has."""
        with self._lock:
            if operation.started:
                return False
            operation.fail(error)  # here, so that the thread sees it done
            return True

    def close(self) -> None:
        """End the thread after the batch that it is in. What still waits is left undone."""
        with self._lock:
            self._closing = True
            self._lock.notify()

    # In the thread.

    def _live(self) -> None:
        try:
            with closing(open_database(self.location, self._timeout_s)) as db:
                if self._identity is not None:
                    self._identity.settle()
                self.opened.set_result(None)
                while self._await_work(db):
                    self._work(db)
        except BaseException as error:
            if self.opened.done():
                raise
            self.opened.set_exception(error)
        finally:
            self.ended.set_result(None)

    def _await_work(self, db: sqlite3.Connection) -> bool:
        """Return ``True`` when there is something to write, ``False`` at the end."""
        while True:
            with self._lock:
                if not self._waiting and not self._closing and not self._needed:
                    self._lock.wait(self._membership.due_in_s())
                if self._closing:
                    return False
                waiting = bool(self._waiting)
            idle = not waiting and not self._needed
            if self._is_gone(idle=idle):
                self._needed = False
                if waiting:
                    return True
                continue
            try:
                self._needed = self._membership.keep(db, idle=idle) or self._needed
            except sqlite3.Error:
                pass  # a look at other processes that failed is repeated at the next turn
            if waiting or self._needed:
                return True

    def _is_gone(self, *, idle: bool) -> bool:
        """Say whether the file is lost; it is looked at now and then."""
        trouble, identity = self.trouble, self._identity
        if trouble.gone is None and identity is not None and (idle or time.monotonic() >= self._next_look):
            self._next_look = time.monotonic() + _LOOK_S
            if change := identity.change() or identity.change_beside():
                trouble.end(change)
        return trouble.gone is not None

    def _work(self, db: sqlite3.Connection) -> None:
        if self.trouble.gone is not None:
            self._fail(self._taken(), self.trouble.gone)
            return
        if self._must_write():
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                if fault_of(error) is Fault.LOCKED:
                    self._look(db, self._taken(looks_only=True))
                    self._wait_for_lock(error)  # the others have not started: they can still be withdrawn
                else:
                    self._needed = False
                    self._wait_for_room(self._refused(self._taken(), error))
                return
            self._needed = False
            self._lock_wait_s = _FIRST_WAIT_S
            taken = self._taken()
            self._write(db, [operation for operation in taken if not operation.looks])
        else:
            taken = self._taken()
        self._look(db, [operation for operation in taken if operation.looks])

    def _must_write(self) -> bool:
        with self._lock:
            return self._needed or not all(operation.looks for operation in self._waiting)

    def _write(self, db: sqlite3.Connection, taken: list[AnyOperation]) -> None:
        """Run a batch in the open transaction; after an error that only some of it may have made, each alone."""
        try:
            self._transact(db, taken)
        except Exception as error:
            if len(taken) > 1 and (not isinstance(error, sqlite3.Error) or fault_of(error) in (None, Fault.FULL)):
                self._one_by_one(db, taken)
            else:
                self._wait_for_room(self._refused(taken, error))

    def _look(self, db: sqlite3.Connection, looks: list[AnyOperation]) -> None:
        waits: list[AnyOperation] = []
        for operation in looks:
            try:
                db.execute("BEGIN")
                try:
                    operation.result = operation.run(Batch(db, self.location.label))
                    operation.error = None
                finally:
                    db.execute("ROLLBACK")
            except TaskqError as error:
                operation.error = error
            except Exception as error:
                waits += self._refused([operation], error)
                continue
            tell_loops([operation])
        self._wait_for_room(waits)

    def _one_by_one(self, db: sqlite3.Connection, taken: list[AnyOperation]) -> None:
        """Run each alone, after an error that perhaps only some of them make."""
        waits: dict[AnyOperation, None] = {}  # in order
        for operation in taken:
            if not waits.keys().isdisjoint(operation.behind):
                waits[operation] = None
                continue
            try:
                db.execute("BEGIN IMMEDIATE")
                self._transact(db, [operation])
            except Exception as error:
                waits |= dict.fromkeys(self._refused([operation], error))
        self._wait_for_room(list(waits))

    def _taken(self, *, looks_only: bool = False) -> list[AnyOperation]:
        with self._lock:
            waiting = [operation for operation in self._waiting if operation.looks or not looks_only]
            self._waiting = [operation for operation in self._waiting if looks_only and not operation.looks]
            taken = [operation for operation in waiting if operation.patient or not operation.future.done()]
            for operation in taken:
                operation.started = True
        if len(taken) < len(waiting):
            withdrawn = [operation for operation in waiting if not operation.started]
            tell_loops((), [(operation.loop, operation.abandon) for operation in withdrawn])
        return taken

    def _transact(self, db: sqlite3.Connection, taken: list[AnyOperation]) -> None:
        """Run a batch in the open transaction and tell the results. On an error it is rolled back."""
        settling = [operation.message for operation in taken if isinstance(operation, Settle)]
        batch = Batch(db, self.location.label, settling)
        try:
            self._membership.enter(batch)
            for operation in taken:
                try:
                    operation.result = operation.run(batch)
                    operation.error = None
                except TaskqError as error:
                    operation.error = error
            batch.write()
            wake = self._membership.leave(batch)
            db.execute("COMMIT")
        except BaseException:
            self._membership.rolled_back()
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        if self._identity is not None and (change := self._identity.change()):
            self._fail(taken, self.trouble.end(change))
            return
        self.trouble.passed()
        for operation in taken:
            if operation.error is None:
                operation.committed(operation.result)
        tell_loops(taken, wake.pokes())
        wake.notify()

    def _refused(self, taken: list[AnyOperation], error: Exception) -> list[AnyOperation]:
        """Fail operations that were rolled back, and return those that shall wait and be tried again."""
        fault = fault_of(error) if isinstance(error, sqlite3.Error) else None
        passing = fault in (Fault.LOCKED, Fault.FULL)
        if fault is not None and isinstance(error, sqlite3.Error):
            cause, error = error, error_of(fault, self.location.label, error)
            self.trouble.met(fault, error, cause)

        def waits(operation: AnyOperation) -> bool:
            return fault is Fault.LOCKED or (passing and operation.patient)

        self._fail([operation for operation in taken if not waits(operation)], error)
        return [operation for operation in taken if waits(operation)]

    def _fail(self, failed: list[AnyOperation], error: Exception) -> None:
        for each in failed:
            each.error = error
        tell_loops(failed)

    def _wait_for_lock(self, error: sqlite3.Error) -> None:
        self.trouble.met(Fault.LOCKED, error_of(Fault.LOCKED, self.location.label, error), error)
        with self._lock:
            self._lock.wait_for(lambda: self._closing, self._lock_wait_s)
        self._lock_wait_s = min(self._lock_wait_s * 1.5, _LONGEST_WAIT_S)

    def _wait_for_room(self, waits: list[AnyOperation]) -> None:
        """Put operations back, in front of those that came meanwhile, and pause."""
        if not waits:
            return
        with self._lock:
            for operation in waits:
                operation.started = False
            self._waiting[:0] = waits
            self._lock.wait_for(lambda: self._closing, _PAUSE_S)
