"""The operations behind ``Broker.declare`` (everything in it or nothing) and ``Broker.unbind``."""

from __future__ import annotations

from collections.abc import Sequence

from taskq.broker.names import dead_queue
from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.binding import bind, unbind
from taskq.broker.sqlite.operation import Operation
from taskq.errors import ExchangeMismatch, QueueMismatch, Unroutable
from taskq.tasks.exchanges import Binding, ExchangeDefinition
from taskq.tasks.queues import Queue

_FIND = "SELECT max_priority, delivery_limit FROM queue WHERE name = ?"
_ADD_DEAD = "INSERT INTO queue (name, kind) VALUES (?, 'dead') ON CONFLICT (name) DO NOTHING"
_ADD = """
INSERT INTO queue (name, kind, max_priority, delivery_limit, dead_letter)
SELECT ?, 'work', ?, ?, id FROM queue WHERE name = ?
"""
_FIND_EXCHANGE = "SELECT kind, durable FROM exchange WHERE name = ?"
_ADD_EXCHANGE = "INSERT INTO exchange (name, kind, durable) VALUES (?, ?, ?)"


class Declare(Operation[None]):
    """Make queues, exchanges and bindings exist. First all are looked at, then those that are missing are made."""

    @property
    def what(self) -> str:
        return "a declaration of queues"

    def __init__(
        self, queues: Sequence[Queue], exchanges: Sequence[ExchangeDefinition], bindings: Sequence[Binding]
    ) -> None:
        self._queues = queues
        self._exchanges = exchanges
        self._bindings = bindings

    @property
    def is_empty(self) -> bool:
        return not (self._queues or self._exchanges or self._bindings)

    def run(self, batch: Batch) -> None:
        queues = {queue.name: queue for queue in self._queues if not _exists(batch, queue)}
        exchanges = _missing_exchanges(batch, self._exchanges)
        self._check_bindings(batch, exchanges, queues)
        for queue in queues.values():
            batch.db.execute(_ADD_DEAD, (dead_queue(queue.name),))
            values = (queue.name, queue.max_priority, queue.delivery_limit, dead_queue(queue.name))
            batch.db.execute(_ADD, values)
        for exchange in exchanges.values():
            batch.db.execute(_ADD_EXCHANGE, (exchange.name, exchange.kind, exchange.durable))
        for binding in self._bindings:
            bind(batch, binding)
        batch.forget_routes()

    def _check_bindings(self, batch: Batch, exchanges: dict[str, ExchangeDefinition], queues: dict[str, Queue]) -> None:
        for binding in self._bindings:
            if binding.exchange not in exchanges:
                batch.exchange(binding.exchange)
            if binding.queue not in queues and batch.route(binding.queue) is None:
                raise Unroutable(binding.queue)


class Unbind(Operation[None]):
    """Make a binding not exist."""

    @property
    def what(self) -> str:
        return "the removal of a binding"

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    def run(self, batch: Batch) -> None:
        unbind(batch, self._binding)


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


def _missing_exchanges(batch: Batch, exchanges: Sequence[ExchangeDefinition]) -> dict[str, ExchangeDefinition]:
    missing: dict[str, ExchangeDefinition] = {}
    for exchange in exchanges:
        if not exchange.declare:
            if exchange.name not in missing:
                batch.exchange(exchange.name)
            continue
        row = batch.db.execute(_FIND_EXCHANGE, (exchange.name,)).fetchone()
        if row is not None:
            _compare(exchange, row[0], bool(row[1]))
        elif exchange.name in missing:
            _compare(exchange, missing[exchange.name].kind, missing[exchange.name].durable)
        else:
            missing[exchange.name] = exchange
    return missing


def _compare(exchange: ExchangeDefinition, kind: str, durable: bool) -> None:
    mine = {"kind": exchange.kind, "durable": exchange.durable}
    theirs = {"kind": kind, "durable": durable}
    if mine != theirs:
        raise ExchangeMismatch(exchange.name, {k: (mine[k], theirs[k]) for k in mine if mine[k] != theirs[k]})
