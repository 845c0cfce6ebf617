"""A subscription to a queue: a consumer or an inbox, as the engine's thread knows it.

Its row may be lost, when this process was taken for dead; then it gets another one, under another id. So the id is
read in the transaction that uses it, never before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.claiming import release

_INSERT = "INSERT INTO consumer (process, queue, prefetch) VALUES (?, ?, ?)"
_DELETE = "DELETE FROM consumer WHERE id = ?"
_OWN_QUEUE = """
INSERT INTO queue (name, kind, owner) VALUES (?, 'reply', ?) ON CONFLICT (name) DO UPDATE SET owner = excluded.owner
"""
_DROP_QUEUE = "DELETE FROM queue WHERE id = ?"
_DROP_MESSAGES = (  # three statements, one for each index that has them
    "DELETE FROM message WHERE queue = ? AND claim IS NULL AND ready_at IS NULL",
    "DELETE FROM message WHERE queue = ? AND claim IS NULL AND ready_at IS NOT NULL",
    "DELETE FROM message WHERE claim IS NOT NULL AND queue = ?",
)


@dataclass(slots=True, eq=False)
class Subscription:
    """``poke`` is called on ``loop`` when the queue may have something. ``prefetch`` 0: an inbox, which owns it."""

    name: str
    prefetch: int
    loop: asyncio.AbstractEventLoop
    poke: Callable[[], None]
    queue: int = 0
    row: int = 0
    claims: int = 0

    def next_claim(self) -> int:
        """Return a number that no other claim has; see ``schema.sql``."""
        self.claims = (self.claims + 1) & 0xFFFFFFFF
        return self.row << 32 | self.claims

    def insert(self, batch: Batch, process: int) -> bool:
        """Make the row, and the queue of an inbox; return ``False`` when there is no such queue."""
        if not self.prefetch:
            batch.db.execute(_OWN_QUEUE, (self.name, process))
            batch.forget_routes()
        route = batch.route(self.name)
        if route is None:
            return False
        self.queue = route.queue
        self.row = batch.db.execute(_INSERT, (process, route.queue, self.prefetch)).lastrowid or 0
        return True

    def delete(self, batch: Batch) -> None:
        """Remove the row; what was claimed goes back, what an inbox did not read is dropped."""
        batch.write()
        release(batch, self.row)
        batch.db.execute(_DELETE, (self.row,))
        if not self.prefetch:
            drop_queue(batch, self.queue)


def drop_queue(batch: Batch, queue: int) -> None:
    """Delete a reply queue and its messages."""
    for statement in _DROP_MESSAGES:
        batch.db.execute(statement, (queue,))
    batch.db.execute(_DROP_QUEUE, (queue,))
    batch.forget_routes()
