"""The operations of an inbox: read, and later remove what was read.

Theory of operation. Nobody but its inbox takes anything from a reply queue, and replies are stored in the order of
their ids. So a read is a look for what has a higher id than the last one that was read: it waits for nobody who writes,
and a caller has its result without another flush to the disk. What was read is removed a moment later, many at a time.
When the process dies before that, the queue goes with it.
"""

from __future__ import annotations

from collections.abc import Callable

from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.operation import Operation
from taskq.broker.sqlite.subscription import Subscription

AT_ONCE = 1_000

# Such a queue has no priorities: all are 0.
_OF_QUEUE = "queue = ? AND claim IS NULL AND ready_at IS NULL AND priority = 0"
_READ = f"SELECT id, properties, body FROM message WHERE {_OF_QUEUE} AND id > ? ORDER BY id LIMIT ?"
_REMOVE = f"DELETE FROM message WHERE {_OF_QUEUE} AND id <= ?"

ReplyRow = tuple[int, str, bytes]


class Read(Operation[list[ReplyRow]]):
    """Read up to :data:`AT_ONCE` replies behind the id ``after``. ``read`` is called with them on the loop."""

    __slots__ = ("_after", "_read", "_subscription")

    patient = True
    tidies = True
    looks = True

    def __init__(self, subscription: Subscription, after: int, read: Callable[[list[ReplyRow] | None], None]) -> None:
        self._subscription = subscription
        self._after = after
        self._read = read

    def run(self, batch: Batch) -> list[ReplyRow]:
        return batch.db.execute(_READ, (self._subscription.queue, self._after, AT_ONCE)).fetchall()

    def resolve(self, result: list[ReplyRow]) -> None:
        super().resolve(result)
        self._read(result)

    def fail(self, error: Exception) -> None:
        self.abandon()

    def abandon(self) -> None:
        super().abandon()
        self._read(None)


class Remove(Operation[None]):
    """Remove the replies up to the id ``last``."""

    __slots__ = ("_last", "_subscription")

    patient = True
    tidies = True

    def __init__(self, subscription: Subscription, last: int) -> None:
        self._subscription = subscription
        self._last = last

    def run(self, batch: Batch) -> None:
        batch.db.execute(_REMOVE, (self._subscription.queue, self._last))
