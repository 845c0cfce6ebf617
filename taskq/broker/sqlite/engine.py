"""What is done with one database: take everything that waits, run it in one transaction, and tell the loops.

Theory of operation. Operations wait in one list, in the order of their submission. The engine first gets the lock
of the database (``BEGIN IMMEDIATE``) and only then takes the list: what arrived while it waited for the lock, or for
the last commit to reach the disk, shares the next commit. So the batch grows with the load by itself. Looks come after
the commit of the batch that they are in, or alone when others have the lock: they hold none, however much they count.

An operation's own error (a :class:`TaskqError`, raised before it writes) is its own result. An error of the database
rolls the whole batch back. What it means is told by :mod:`~taskq.broker.sqlite.faults`: a lock is waited for; while
the disk is full the patient operations (settles, claims) wait and the others fail; anything else fails all. An error
that is none of these comes from one operation: then each is run again in a transaction of its own, so that it fails
alone.

All results and pokes of a batch reach each loop in one call. The engine also keeps the membership (leases, sweeps,
polls) at its own pace, whether the loops are blocked or not.

It runs in a thread of its own (:mod:`~taskq.broker.sqlite.system`), but never starts one and never sleeps: its
:meth:`Engine.life` yields where there is nothing to do, and says until when.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import closing
from typing import Any, NamedTuple

from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.faults import Fault, error_of, fault_of
from taskq.broker.sqlite.location import Location
from taskq.broker.sqlite.loopcalls import tell_loops
from taskq.broker.sqlite.membership import Membership
from taskq.broker.sqlite.operation import Operation
from taskq.broker.sqlite.settling import Settle
from taskq.errors import BrokerError, TaskqError

_PAUSE_S = 0.25  # between two tries on a disk that is full
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.0005, 0.02  # between two tries for the lock

AnyOperation = Operation[Any]
OpenDatabase = Callable[[], sqlite3.Connection]


class Rest(NamedTuple):
    """How long an engine has nothing to do: until ``over()``, which is asked with :attr:`Engine.changed` held, and for
    ``seconds`` at most (``None``: for as long as it takes).
    """

    over: Callable[[], bool]
    seconds: float | None


class Engine:
    """One connection and its work. ``opened`` is done when the database can be used, or failed to open.

    ``open_database`` is called by :meth:`life`. ``changed`` is notified of what may end a rest.
    """

    def __init__(self, location: Location, open_database: OpenDatabase, membership: Membership) -> None:
        self.location = location
        self.opened: Future[None] = Future()
        self.ended: Future[None] = Future()
        self.obstacle: BrokerError | None = None
        self.changed = threading.Condition()
        self._open_database = open_database
        self._membership = membership
        self._waiting: list[AnyOperation] = []
        self._closing = False
        self._lock_wait_s = _FIRST_WAIT_S
        self._needed: bool = False  # a transaction for the membership alone

    # On the loops.

    def hand_over(self, operations: Iterable[AnyOperation]) -> None:
        """Queue operations, in order."""
        with self.changed:
            self._waiting.extend(operations)
            self.changed.notify()

    def withdraw(self, operation: AnyOperation, error: Exception) -> bool:
        """Fail an operation that has not started; return ``False`` when it has."""
        with self.changed:
            if operation.started:
                return False
            operation.fail(error)  # here, so that the thread sees it done
            return True

    def close(self) -> None:
        """End its life after the batch that it is in. What still waits is left undone."""
        with self.changed:
            self._closing = True
            self.changed.notify()

    # In its own thread.

    def life(self) -> Generator[Rest, None, None]:
        """Do everything, from opening the database to closing it; who drives it rests where it yields."""
        try:
            with closing(self._open_database()) as db:
                self.opened.set_result(None)
                yield self._idle()
                while not self._closing:
                    yield self._turn(db)
        except BaseException as error:
            if self.opened.done():
                raise
            self.opened.set_exception(error)
        finally:
            self.ended.set_result(None)

    def _idle(self) -> Rest:
        return Rest(self._is_wanted, self._membership.due_in_s())

    def _is_wanted(self) -> bool:
        return bool(self._waiting) or self._closing or self._needed

    def _is_closing(self) -> bool:
        return self._closing

    def _turn(self, db: sqlite3.Connection) -> Rest:
        """Do what is there to be done, and return how to rest before the next turn."""
        waiting = bool(self._waiting)
        try:
            idle = not waiting and not self._needed
            self._needed = self._membership.keep(db, idle=idle) or self._needed
        except sqlite3.Error:
            pass  # a look at other processes that failed is repeated at the next turn
        pause_s = self._work(db) if waiting or self._needed else 0.0
        return Rest(self._is_closing, pause_s) if pause_s else self._idle()

    def _work(self, db: sqlite3.Connection) -> float:
        """Write and look; return for how many seconds to pause before what could not be done is tried again."""
        if not self._must_write():
            return self._look(db, self._taken())
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if fault_of(error) is Fault.LOCKED:  # the writes have not started: they can still be withdrawn
                return max(self._look(db, self._taken(looks_only=True)), self._pause_for_lock(error))
            self._needed = False
            return self._put_back(self._refused(self._taken(), error))
        self._needed = False
        self._lock_wait_s = _FIRST_WAIT_S
        taken = self._taken()
        pause_s = self._write(db, [operation for operation in taken if not operation.looks])
        return max(pause_s, self._look(db, [operation for operation in taken if operation.looks]))

    def _must_write(self) -> bool:
        with self.changed:
            return self._needed or not all(operation.looks for operation in self._waiting)

    def _write(self, db: sqlite3.Connection, taken: list[AnyOperation]) -> float:
        """Run a batch in the open transaction; after an error that only some of it may have made, each alone."""
        try:
            self._transact(db, taken)
        except Exception as error:
            if len(taken) > 1 and (not isinstance(error, sqlite3.Error) or fault_of(error) in (None, Fault.FULL)):
                return self._one_by_one(db, taken)
            return self._put_back(self._refused(taken, error))
        return 0.0

    def _look(self, db: sqlite3.Connection, looks: list[AnyOperation]) -> float:
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
        return self._put_back(waits)

    def _one_by_one(self, db: sqlite3.Connection, taken: list[AnyOperation]) -> float:
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
        return self._put_back(list(waits))

    def _taken(self, *, looks_only: bool = False) -> list[AnyOperation]:
        with self.changed:
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
        self.obstacle = None
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
            error = self.obstacle = error_of(fault, self.location.label, error)
        waits: list[AnyOperation] = []
        failed: list[AnyOperation] = []
        for each in taken:
            if fault is Fault.LOCKED or (passing and each.patient):
                waits.append(each)
            else:
                each.error = error
                failed.append(each)
        tell_loops(failed)
        return waits

    def _pause_for_lock(self, error: sqlite3.Error) -> float:
        self.obstacle = error_of(Fault.LOCKED, self.location.label, error)
        pause_s = self._lock_wait_s
        self._lock_wait_s = min(pause_s * 1.5, _LONGEST_WAIT_S)
        return pause_s

    def _put_back(self, waits: list[AnyOperation]) -> float:
        """Put operations back, in front of those that came meanwhile, and return the pause before they are tried."""
        if not waits:
            return 0.0
        with self.changed:
            for operation in waits:
                operation.started = False
            self._waiting[:0] = waits
        return _PAUSE_S
