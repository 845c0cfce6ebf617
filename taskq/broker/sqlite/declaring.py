"""The operation behind ``Broker.declare``: all queues or none."""

from __future__ import annotations

from collections.abc import Sequence

from taskq.broker.names import dead_queue
from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.operation import Operation
from taskq.errors import QueueMismatch, Unroutable
from taskq.tasks.queues import Queue

_FIND = "SELECT max_priority, delivery_limit FROM queue WHERE name = ?"
_ADD_DEAD = "INSERT INTO queue (name, kind) VALUES (?, 'dead') ON CONFLICT (name) DO NOTHING"
_ADD = """
INSERT INTO queue (name, kind, max_priority, delivery_limit, dead_letter)
SELECT ?, 'work', ?, ?, id FROM queue WHERE name = ?
"""


class Declare(Operation[None]):
    """Make queues exist."""

    @property
    def what(self) -> str:
        return "a declaration of queues"

    def __init__(self, queues: Sequence[Queue]) -> None:
        self._queues = queues

    def run(self, batch: Batch) -> None:
        missing = [queue for queue in self._queues if not _exists(batch, queue)]
        for queue in {queue.name: queue for queue in missing}.values():
            batch.db.execute(_ADD_DEAD, (dead_queue(queue.name),))
            values = (queue.name, queue.max_priority, queue.delivery_limit, dead_queue(queue.name))
            batch.db.execute(_ADD, values)
        batch.forget_routes()


def _exists(batch: Batch, queue: Queue) -> bool:
    found = batch.db.execute(_FIND, (queue.name,)).fetchone()
    if found is None and not queue.declare:
        raise Unroutable(queue.name)
    if found is None or not queue.declare:
        return found is not None
    mine = {"max_priority": queue.max_priority, "delivery_limit": queue.delivery_limit}
    theirs = dict(zip(mine, found, strict=True))
    if mine != theirs:
        raise QueueMismatch(queue.name, {k: (mine[k], theirs[k]) for k in mine if mine[k] != theirs[k]})
    return True
