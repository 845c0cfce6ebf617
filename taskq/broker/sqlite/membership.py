"""What belongs to an open broker in the database, kept by the engine's thread: its row, its lease, its subscriptions.

Theory of operation. A process lives while its row is there. Every transaction looks first whether it is: when it is
not, this process was taken for dead (it was stopped for longer than its lease). Its claims are somebody else's by
now, so its deliveries settle to nothing; it makes a new row and goes on with the same subscriptions and inboxes. Its
temporary queues are made again, and whoever has one is told for how long, at most, it was missing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.loopcalls import Call, tell_loops
from taskq.broker.sqlite.process import Process
from taskq.broker.sqlite.subscription import Subscription
from taskq.broker.sqlite.sweeper import Sweeper, remove_process
from taskq.broker.sqlite.wakeups import Wakeups
from taskq.broker.sqlite.wal import WalBound
from taskq.clock import Clock

SWEEP_S = 0.5
POLL_S = 1.0
_FIRST_LOOK = 0.9  # of the lease: the rest is for the second look of who finds it over
_RENEW_BEFORE = 0.6  # of the lease, before it is over: a third of it has passed

_LEASE = "SELECT lease_until FROM process WHERE id = ?"
_RENEW = "UPDATE process SET lease_until = ? WHERE id = ?"
_REGISTER = (
    "INSERT INTO process (pid, start_time, boot_id, pid_namespace, lease_until, wake_port) VALUES (?, ?, ?, ?, ?, ?)"
)
_TO_NOTIFY = (
    "SELECT DISTINCT p.wake_port FROM consumer c JOIN process p ON p.id = c.process WHERE c.queue = ? AND p.id != ?"
)


@dataclass(frozen=True, slots=True)
class Wake:
    """Who is to look at which queue, after a commit."""

    subscriptions: list[Subscription]
    ports: list[tuple[int, int]]
    gaps: list[Call]
    wakeups: Wakeups | None

    def pokes(self) -> list[Call]:
        """Return the calls for consumers of this process; those about what they missed come first."""
        return self.gaps + [(subscription.loop, subscription.poke) for subscription in self.subscriptions]

    def notify(self) -> None:
        """Tell the other processes."""
        if self.wakeups is not None:
            for port, queue in self.ports:
                self.wakeups.notify(port, queue)


class Membership:
    """Of one engine. ``wakeups`` and ``wal`` are ``None`` for a database in memory: it has no other processes, and no
    sweep. ``is_gone`` says of another process whether it has ended.
    """

    def __init__(
        self,
        me: Process,
        clock: Clock,
        lease_s: float,
        wakeups: Wakeups | None,
        wal: WalBound | None,
        *,
        is_gone: Callable[[Process], bool] = Process.is_gone,
    ) -> None:
        self.wakeups = wakeups
        self._wal = wal
        self.row = self._stored_row = 0
        self._me = me
        self._clock = clock
        self._lease_s = lease_s
        self._subscriptions: dict[int, tuple[Subscription, ...]] = {}  # replaced, never changed: the loop reads it too
        self._sweep_s = min(SWEEP_S, lease_s / 6)
        self._next_sweep = self._next_poll = 0.0
        self._renew_at = 0.0
        self._seen_at = 0.0  # when our row was last there
        self._gaps: list[Call] = []
        self._sweeper = Sweeper(me, lease_s * (1 - _FIRST_LOOK), is_gone)
        self._left = False
        self._sweep_now = False

    # Subscriptions.

    def add(self, subscription: Subscription) -> None:
        """Poke ``subscription`` from now on, and keep its row."""
        self._subscriptions[subscription.queue] = (*self._subscriptions.get(subscription.queue, ()), subscription)

    def has(self, subscription: Subscription) -> bool:
        """Say whether ``subscription`` is stored; asked in the thread that stores it."""
        return any(subscription in of_queue for of_queue in self._subscriptions.values())

    def discard(self, subscription: Subscription) -> None:
        """Forget ``subscription``."""
        left = tuple(other for other in self._subscriptions.get(subscription.queue, ()) if other is not subscription)
        if left:
            self._subscriptions[subscription.queue] = left
        else:
            self._subscriptions.pop(subscription.queue, None)

    def wake(self, queue: int) -> None:
        """Poke the subscriptions to ``queue``; called on the loop, for a database that has one loop only."""
        for subscription in self._subscriptions.get(queue, ()):
            subscription.poke()

    # In each transaction.

    def enter(self, batch: Batch) -> None:
        """Make sure of our row and lease, and remove those whom the last sweep found dead."""
        now = self._clock.monotonic()
        self._gaps = []
        self._stored_row = self.row  # it is stored: what was rolled back has set it back
        row = batch.db.execute(_LEASE, (self.row,)).fetchone()
        if row is None:
            self._register(batch, now)
        else:
            self._seen_at = now
            # From what is stored, and not from what this transaction is about to store: it may be rolled back.
            self._renew_at = row[0] - self._lease_s * _RENEW_BEFORE
            if now >= self._renew_at:
                batch.db.execute(_RENEW, (now + self._lease_s * _FIRST_LOOK, self.row))
        if self._sweep_now:
            self._sweep_now = False
            for process in self._sweeper.dead(batch.db, self.row, now):
                remove_process(batch, process)

    def rolled_back(self) -> None:
        """Forget what was found or made in vain: a row, whose number another process may get, and suspects."""
        self.row = self._stored_row
        self._sweeper.forget()

    def leave(self, batch: Batch) -> Wake:
        """Return whom to wake when the transaction is stored."""
        subscriptions: list[Subscription] = []
        ports: list[tuple[int, int]] = []
        for queue in batch.woken():
            subscriptions += self._subscriptions.get(queue, ())
            if self.wakeups is not None:
                found = batch.db.execute(_TO_NOTIFY, (queue, self.row))
                ports += [(port, queue) for (port,) in found]
        return Wake(subscriptions, ports, self._gaps, self.wakeups)

    def deregister(self, batch: Batch) -> None:
        """Remove our row and what is still ours."""
        remove_process(batch, self.row)

    def deregistered(self) -> None:
        """Make no row again."""
        self._left = True

    # Between transactions.

    def due_in_s(self) -> float | None:
        """Return how long the thread may sleep."""
        return None if self.wakeups is None else self._sweep_s

    def keep(self, db: sqlite3.Connection, *, idle: bool) -> bool:
        """Do what is due; say whether a transaction is needed. ``idle``: the thread slept as long as it may."""
        if self.wakeups is None:
            return False
        now = self._clock.monotonic()
        if idle or now >= self._next_sweep:
            self._next_sweep = now + self._sweep_s
            self._sweep_now = self._sweeper.sees_suspects(db, self.row, now)
            if self._wal is not None:
                self._wal.keep(db)
        if now >= self._next_poll:
            self._next_poll = now + POLL_S
            self._poll()
        return (self._sweep_now or self._is_lease_due(now)) and not self._left

    def _is_lease_due(self, now: float) -> bool:
        # without a subscription nothing is ours that a lease could keep: who only publishes or looks needs no row
        return bool(self._subscriptions) and now >= self._renew_at

    def _poll(self) -> None:
        subscriptions = [each for of_queue in list(self._subscriptions.values()) for each in of_queue]
        tell_loops((), [(subscription.loop, subscription.poke) for subscription in subscriptions])

    def _register(self, batch: Batch, now: float) -> None:
        me = self._me
        port = self.wakeups.port if self.wakeups is not None else 0
        lease_until = now + self._lease_s * _FIRST_LOOK
        values = (me.pid, me.start_time, me.boot_id, me.pid_namespace, lease_until, port)
        self.row = batch.db.execute(_REGISTER, values).lastrowid or 0
        subscriptions = [subscription for of_queue in self._subscriptions.values() for subscription in of_queue]
        for subscription in subscriptions:
            subscription.insert(batch, self.row)
            if subscription.temporary is not None and subscription.missed is not None:
                self._gaps.append((subscription.loop, partial(subscription.missed, now - self._seen_at)))
        self._subscriptions = {}  # the queue of an inbox is another one now
        for subscription in subscriptions:
            self.add(subscription)
