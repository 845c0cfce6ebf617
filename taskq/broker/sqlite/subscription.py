"""A subscription to a queue: a consumer or an inbox, as the engine's thread knows it.

A queue of its own (an inbox, a temporary queue) is made and deleted with it. Its row may be lost, when this process was
taken for dead; then it gets another one, under another id, and its own queue is made again. So an id is read in the
transaction that uses it, never before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.binding import bind
from taskq.broker.sqlite.claiming import release
from taskq.errors import BrokerError, Unroutable
from taskq.tasks.exchanges import TemporaryQueue

_INSERT = "INSERT INTO consumer (process, queue, prefetch) VALUES (?, ?, ?)"
_DELETE = "DELETE FROM consumer WHERE id = ?"
_INBOX = """
INSERT INTO queue (name, kind, owner) VALUES (?, 'reply', ?) ON CONFLICT (name) DO UPDATE SET owner = excluded.owner
"""
_TEMPORARY = """
INSERT INTO queue (name, kind, owner, max_length, overflow, label) VALUES (?, 'temporary', ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner
"""
_IS_OWN = "SELECT 1 FROM queue WHERE name = ? AND owner IS NOT NULL"
_DROP_QUEUE = "DELETE FROM queue WHERE id = ?"
_DROP_MESSAGES = (  # three statements, one for each index that has them
    "DELETE FROM message WHERE queue = ? AND claim IS NULL AND ready_at IS NULL",
    "DELETE FROM message WHERE queue = ? AND claim IS NULL AND ready_at IS NOT NULL",
    "DELETE FROM message WHERE claim IS NOT NULL AND queue = ?",
)


@dataclass(slots=True, eq=False)
class Subscription:
    """``poke`` is called on ``loop`` when the queue may have something. ``prefetch`` 0: an inbox, which owns it.

    ``temporary``: the queue that it owns otherwise. ``missed`` is called on ``loop`` when that had to be made again,
    with the seconds that it may have been missing.
    """

    name: str
    prefetch: int
    loop: asyncio.AbstractEventLoop
    poke: Callable[[], None]
    temporary: TemporaryQueue | None = None
    missed: Callable[[float], None] | None = None
    queue: int = 0
    row: int = 0
    claims: int = 0

    def next_claim(self) -> int:
        """Return a number that no other claim has; see ``schema.sql``."""
        self.claims = (self.claims + 1) & 0xFFFFFFFF
        return self.row << 32 | self.claims

    @property
    def owns_queue(self) -> bool:
        """Whether the queue comes and goes with it."""
        return self.temporary is not None or not self.prefetch

    def check(self, batch: Batch) -> None:
        """Raise :class:`BrokerError` when it cannot be made; nothing is written."""
        if self.temporary is not None:
            for binding in self.temporary.bindings:
                batch.exchange(binding.exchange)
        elif self.prefetch:
            if batch.route(self.name) is None:
                raise Unroutable(self.name)
            if batch.db.execute(_IS_OWN, (self.name,)).fetchone():
                raise BrokerError(f"queue {self.name!r} belongs to one process; nobody else can consume it")

    def insert(self, batch: Batch, process: int) -> bool:
        """Make the row, and a queue of its own; return ``False`` when there is no such queue."""
        if self.owns_queue:
            self._make_queue(batch, process)
        route = batch.route(self.name)
        if route is None:
            return False
        self.queue = route.queue
        self.row = batch.db.execute(_INSERT, (process, route.queue, self.prefetch)).lastrowid or 0
        return True

    def _make_queue(self, batch: Batch, process: int) -> None:
        own = self.temporary
        if own is None:
            batch.db.execute(_INBOX, (self.name, process))
        else:
            batch.db.execute(_TEMPORARY, (self.name, process, own.limit, own.overflow, own.label))
            for binding in own.bindings:
                bind(batch, binding)
        batch.forget_routes()

    def delete(self, batch: Batch) -> None:
        """Remove the row; what was claimed goes back, and a queue of its own is dropped with what is in it."""
        batch.write()
        release(batch, self.row)
        batch.db.execute(_DELETE, (self.row,))
        if self.owns_queue:
            drop_queue(batch, self.queue)


def drop_queue(batch: Batch, queue: int) -> None:
    """Delete a queue of a subscription's own, its messages and its bindings."""
    for statement in _DROP_MESSAGES:
        batch.db.execute(statement, (queue,))
    batch.db.execute(_DROP_QUEUE, (queue,))
    batch.forget_routes()
