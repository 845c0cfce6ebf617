"""What belongs to an open broker in the database, kept by the engine's thread: its row, its lease, its seats.

Theory of operation. A process lives while its row is there. Every transaction looks first whether it is: when it is
not, this process was taken for dead (it was stopped for longer than its lease). Its claims are somebody else's by
now, so its deliveries settle to nothing; it makes a new row and goes on with the same seats and inboxes.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.doorbell import Doorbell
from taskq.broker.sqlite.loopcalls import Call, call_on
from taskq.broker.sqlite.process import Process
from taskq.broker.sqlite.seat import Seat
from taskq.broker.sqlite.undertaker import Undertaker, bury
from taskq.clock import Clock

SWEEP_S = 0.5
POLL_S = 1.0
_FIRST_LOOK = 0.9  # of the lease: the rest is for the second look of who finds it over
_RENEW_BEFORE = 0.6  # of the lease, before it is over: a third of it has passed

_LEASE = "SELECT lease_until FROM process WHERE id = ?"
_RENEW = "UPDATE process SET lease_until = ? WHERE id = ?"
_MOVE_IN = (
    "INSERT INTO process (pid, start_time, boot_id, pid_namespace, lease_until, wake_port) VALUES (?, ?, ?, ?, ?, ?)"
)
_TO_RING = (
    "SELECT DISTINCT p.wake_port FROM consumer c JOIN process p ON p.id = c.process WHERE c.queue = ? AND p.id != ?"
)


@dataclass(frozen=True, slots=True)
class Wake:
    """Who is to look at which queue, after a commit."""

    seats: list[Seat]
    ports: list[tuple[int, int]]
    doorbell: Doorbell | None

    def pokes(self) -> list[Call]:
        """Return the calls for consumers of this process."""
        return [(seat.loop, seat.poke) for seat in self.seats]

    def ring(self) -> None:
        """Tell the other processes."""
        if self.doorbell is not None:
            for port, queue in self.ports:
                self.doorbell.ring(port, queue)


class Household:
    """Of one engine. ``doorbell`` is ``None`` for a database in memory: it has no other processes, and no sweep."""

    def __init__(self, me: Process, clock: Clock, lease_s: float, doorbell: Doorbell | None) -> None:
        self.doorbell = doorbell
        self.row = 0
        self._me = me
        self._clock = clock
        self._lease_s = lease_s
        self._seats: dict[int, tuple[Seat, ...]] = {}  # replaced, never changed: the loop reads it too
        self._sweep_s = min(SWEEP_S, lease_s / 6)
        self._next_sweep = self._next_poll = 0.0
        self._renew_at = 0.0
        self._undertaker = Undertaker(me, lease_s * (1 - _FIRST_LOOK))
        self._left = False
        self._sweep_now = False

    # Seats.

    def add(self, seat: Seat) -> None:
        """Poke ``seat`` from now on, and keep its row."""
        self._seats[seat.queue] = (*self._seats.get(seat.queue, ()), seat)

    def discard(self, seat: Seat) -> None:
        """Forget ``seat``."""
        left = tuple(other for other in self._seats.get(seat.queue, ()) if other is not seat)
        if left:
            self._seats[seat.queue] = left
        else:
            self._seats.pop(seat.queue, None)

    def rung(self, queue: int) -> None:
        """Poke the seats at ``queue``; called on the loop, for a database that has one loop only."""
        for seat in self._seats.get(queue, ()):
            seat.poke()

    # In each transaction.

    def enter(self, batch: Batch) -> None:
        """Make sure of our row and lease, and bury whom the last sweep found dead."""
        now = self._clock.monotonic()
        row = batch.db.execute(_LEASE, (self.row,)).fetchone()
        if row is None:
            self._move_in(batch, now)
        else:
            # From what is stored, and not from what this transaction is about to store: it may be rolled back.
            self._renew_at = row[0] - self._lease_s * _RENEW_BEFORE
            if now >= self._renew_at:
                batch.db.execute(_RENEW, (now + self._lease_s * _FIRST_LOOK, self.row))
        if self._sweep_now:
            self._sweep_now = False
            for process in self._undertaker.dead(batch.db, self.row, now):
                bury(batch, process)

    def leave(self, batch: Batch) -> Wake:
        """Return whom to wake when the transaction is stored."""
        seats: list[Seat] = []
        ports: list[tuple[int, int]] = []
        for queue in batch.woken():
            seats += self._seats.get(queue, ())
            if self.doorbell is not None:
                found = batch.db.execute(_TO_RING, (queue, self.row))
                ports += [(port, queue) for (port,) in found]
        return Wake(seats, ports, self.doorbell)

    def move_out(self, batch: Batch) -> None:
        """Remove our row and what is still ours."""
        bury(batch, self.row)

    def moved_out(self) -> None:
        """Make no row again."""
        self._left = True

    # Between transactions.

    def due_in_s(self) -> float | None:
        """Return how long the thread may sleep."""
        return None if self.doorbell is None else self._sweep_s

    def keep(self, db: sqlite3.Connection, *, idle: bool) -> bool:
        """Do what is due; say whether a transaction is needed. ``idle``: the thread slept as long as it may."""
        if self.doorbell is None:
            return False
        now = self._clock.monotonic()
        if idle or now >= self._next_sweep:
            self._next_sweep = now + self._sweep_s
            self._sweep_now = self._undertaker.sees_suspects(db, self.row, now)
        if now >= self._next_poll:
            self._next_poll = now + POLL_S
            self._poll()
        return (self._sweep_now or now >= self._renew_at) and not self._left

    def _poll(self) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}
        for seats in list(self._seats.values()):
            for seat in seats:
                by_loop.setdefault(seat.loop, []).append(seat.poke)
        for loop, pokes in by_loop.items():
            call_on(loop, pokes)

    def _move_in(self, batch: Batch, now: float) -> None:
        me = self._me
        port = self.doorbell.port if self.doorbell is not None else 0
        lease_until = now + self._lease_s * _FIRST_LOOK
        values = (me.pid, me.start_time, me.boot_id, me.pid_namespace, lease_until, port)
        self.row = batch.db.execute(_MOVE_IN, values).lastrowid or 0
        seats = [seat for at in self._seats.values() for seat in at]
        self._seats.clear()
        for seat in seats:
            seat.sit(batch, self.row)
            self.add(seat)
