"""The operations of the inspector. All but the rework only look, so that they never wait for who writes."""

from __future__ import annotations

import json

from taskq.broker.protocol import ExchangeState, QueueState
from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.claiming import ROUNDING_S
from taskq.broker.sqlite.operation import Operation
from taskq.broker.sqlite.packing import PackedMessage
from taskq.clock import Clock
from taskq.errors import Unroutable
from taskq.tasks.exchanges import Binding

# One count for each index, so that none of them reads a message.
_STATES = """
SELECT q.name,
  (SELECT count(*) FROM message m WHERE m.queue = q.id AND m.claim IS NULL AND m.ready_at IS NULL),
  (SELECT count(*) FROM message m WHERE m.queue = q.id AND m.claim IS NULL AND m.ready_at IS NOT NULL
                                    AND m.ready_at <= ?1),
  (SELECT count(*) FROM message m WHERE m.queue = q.id AND m.claim IS NULL AND m.ready_at IS NOT NULL
                                    AND m.ready_at > ?1),
  (SELECT count(*) FROM consumer c WHERE c.queue = q.id),
  q.id
FROM queue q WHERE q.kind != 'reply' ORDER BY q.name
"""
_UNSETTLED = "SELECT queue, count(*) FROM message WHERE claim IS NOT NULL GROUP BY queue"
_LAST = "SELECT max(id) FROM message"
# The ids are sorted first, without the messages.
_PAGE = """
SELECT m.id, m.properties, m.body FROM message m JOIN (
  SELECT id FROM message WHERE queue = ?1 AND claim IS NULL AND ready_at IS NULL AND id > ?3 AND id <= ?4
  UNION ALL
  SELECT id FROM message WHERE queue = ?1 AND claim IS NULL AND ready_at IS NOT NULL AND ready_at <= ?2
                           AND id > ?3 AND id <= ?4
  ORDER BY id LIMIT ?5
) USING (id) ORDER BY id
"""
_EXCHANGES = "SELECT name, kind, durable FROM exchange ORDER BY name"
_BINDINGS = """
SELECT e.name, q.name, b.key, b.headers, b.match
FROM binding b JOIN exchange e ON e.id = b.exchange JOIN queue q ON q.id = b.queue
ORDER BY e.name, q.name, b.key, b.headers
"""
_REMOVE = "DELETE FROM message WHERE id = ? AND claim IS NULL"

PageRow = tuple[int, str, bytes]
LAST_ID = 2**63 - 1


class States(Operation[list[QueueState]]):
    """Count what is in each queue. A message that is due counts as ready."""

    looks = True

    @property
    def what(self) -> str:
        return "a look at the queues"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def run(self, batch: Batch) -> list[QueueState]:
        unsettled: dict[int, int] = dict(batch.db.execute(_UNSETTLED).fetchall())
        return [
            QueueState(name, ready + due, unsettled.get(queue, 0), delayed, consumers)
            for name, ready, due, delayed, consumers, queue in batch.db.execute(_STATES, (_due(self._clock),))
        ]


class Exchanges(Operation[list[ExchangeState]]):
    """Read which exchanges there are."""

    looks = True

    @property
    def what(self) -> str:
        return "a look at the exchanges"

    def run(self, batch: Batch) -> list[ExchangeState]:
        return [ExchangeState(name, kind, bool(durable)) for name, kind, durable in batch.db.execute(_EXCHANGES)]


class Bindings(Operation[list[Binding]]):
    """Read which bindings there are."""

    looks = True

    @property
    def what(self) -> str:
        return "a look at the bindings"

    def run(self, batch: Batch) -> list[Binding]:
        return [
            Binding(exchange=exchange, queue=queue, key=key, headers=json.loads(headers), match=match)
            for exchange, queue, key, headers, match in batch.db.execute(_BINDINGS)
        ]


class Page(Operation[list[PageRow]]):
    """Read messages that are ready, the oldest first. Raises :class:`Unroutable`."""

    looks = True

    @property
    def what(self) -> str:
        return "a look at a queue"

    def __init__(self, clock: Clock, queue: str, *, limit: int, after: int = 0, last: int = LAST_ID) -> None:
        self._clock = clock
        self._queue = queue
        self._range = (after, last, limit)

    def run(self, batch: Batch) -> list[PageRow]:
        route = batch.route(self._queue)
        if route is None:
            raise Unroutable(self._queue)
        return batch.db.execute(_PAGE, (route.queue, _due(self._clock), *self._range)).fetchall()


class LastId(Operation[int]):
    """Return the id of the newest message."""

    looks = True

    @property
    def what(self) -> str:
        return "a look at the queues"

    def run(self, batch: Batch) -> int:
        return int(batch.db.execute(_LAST).fetchone()[0] or 0)


class Rework(Operation[bool]):
    """Replace a message that nobody holds; the result says whether it was still there."""

    sends = True

    @property
    def what(self) -> str:
        return "the rework of a message"

    def __init__(self, message: int, packed_messages: tuple[PackedMessage, ...]) -> None:
        self._message = message
        self._packed_messages = packed_messages

    def run(self, batch: Batch) -> bool:
        batch.check(self._packed_messages)
        if not batch.db.execute(_REMOVE, (self._message,)).rowcount:
            return False
        for packed in self._packed_messages:
            batch.put(packed)
        return True


def _due(clock: Clock) -> float:
    """Return until when a message counts as due."""
    return clock.now() + ROUNDING_S
