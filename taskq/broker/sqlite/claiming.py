"""Claims as SQL: take, give back. A claim is a number in the message's row; who knows it has the message.

A message that is due is first made ready, by whoever looks next, so that one index tells what comes next. A message
that comes back counts a redelivery, and goes to the dead-letter queue as it is when that is one too many.
"""

from __future__ import annotations

import sqlite3
from operator import itemgetter

from taskq.broker.sqlite.batch import Batch

ROUNDING_S = 1e-6
"""Timers end where they should up to a rounding of floating-point numbers."""

_PROMOTE = """
UPDATE message SET ready_at = NULL
WHERE queue = ? AND claim IS NULL AND ready_at IS NOT NULL AND ready_at <= ?
"""
_NEXT_READY = """
SELECT id FROM message WHERE queue = ? AND claim IS NULL AND ready_at IS NULL ORDER BY priority DESC, id LIMIT ?
"""
_TAKE = f"""
UPDATE message SET claim = ? WHERE id IN ({_NEXT_READY})
RETURNING id, priority, redeliveries, properties, body
"""
_NEXT_DUE = "SELECT min(ready_at) FROM message WHERE queue = ? AND claim IS NULL AND ready_at IS NOT NULL"
_HAND_BACK = "UPDATE message SET claim = NULL WHERE id = ? AND claim = ?"
_HAS = "SELECT 1 FROM message WHERE id = ? AND claim = ?"
_HELD = """
SELECT m.id, m.queue, m.redeliveries, q.delivery_limit, q.dead_letter
FROM message m JOIN queue q ON q.id = m.queue WHERE m.claim BETWEEN ? AND ?
"""
_REDELIVER = "UPDATE message SET claim = NULL, redeliveries = redeliveries + 1 WHERE id = ?"
_DEAD_LETTER = "UPDATE message SET claim = NULL, redeliveries = 0, priority = 0, queue = ? WHERE id = ?"


Row = tuple[int, int, int, str, bytes]
"""A message that was claimed: id, priority, redeliveries, properties, body."""

_id, _priority = itemgetter(0), itemgetter(1)


def take(batch: Batch, queue: int, claim: int, limit: int, now: float) -> list[Row]:
    """Claim up to ``limit`` messages, the next one first."""
    promote(batch, queue, now)
    return _in_order(batch.db.execute(_TAKE, (claim, queue, limit)).fetchall())


def promote(batch: Batch, queue: int, now: float) -> None:
    """Make ready what is due."""
    batch.write()
    batch.db.execute(_PROMOTE, (queue, now + ROUNDING_S))


def next_due(batch: Batch, queue: int) -> float | None:
    """Return when the next delayed message is due."""
    due: float | None = batch.db.execute(_NEXT_DUE, (queue,)).fetchone()[0]
    return due


def hand_back(batch: Batch, queue: int, message: int, claim: int) -> bool:
    """Give back a message as if it had not been claimed; say whether ``claim`` still had it."""
    if not batch.db.execute(_HAND_BACK, (message, claim)).rowcount:
        return False
    batch.made_ready(queue)
    return True


def has(db: sqlite3.Connection, message: int, claim: int) -> bool:
    """Say whether ``claim`` still has ``message``."""
    return db.execute(_HAS, (message, claim)).fetchone() is not None


def release(batch: Batch, consumer: int) -> None:
    """Give back everything that a consumer claimed and did not settle."""
    held = batch.db.execute(_HELD, (consumer << 32, consumer << 32 | 0xFFFFFFFF)).fetchall()
    for message, queue, redeliveries, limit, dead_letter in held:
        if limit is not None and dead_letter is not None and redeliveries >= limit:
            batch.db.execute(_DEAD_LETTER, (dead_letter, message))
            batch.made_ready(dead_letter)
        else:
            batch.db.execute(_REDELIVER, (message,))
            batch.made_ready(queue)
    batch.held.forget()


def _in_order(rows: list[Row]) -> list[Row]:
    """Sort what RETURNING gave in no particular order."""
    rows.sort(key=_id)
    rows.sort(key=_priority, reverse=True)  # which leaves those of one priority in their order
    return rows
