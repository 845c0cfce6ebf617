"""Where a message goes: to one queue by its name, or to those that an exchange passes it to.

What is read here holds for one transaction, in which nobody else can write. Which bindings match is told by
:mod:`taskq.broker.routing`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from taskq.broker.routing import matches
from taskq.tasks.exchanges import Binding, ExchangeKind

_ROUTE = "q.id, q.max_priority, q.max_length, q.overflow = 'reject-publish'"
_QUEUE = f"SELECT {_ROUTE} FROM queue q WHERE q.name = ?"
_EXCHANGE = "SELECT id, kind FROM exchange WHERE name = ?"
_BINDINGS = f"""
SELECT {_ROUTE}, q.name, b.key, b.headers, b.match FROM binding b JOIN queue q ON q.id = b.queue WHERE b.exchange = ?
"""
_BINDINGS_OF_KEY = f"{_BINDINGS} AND b.key = ?"


class Route(NamedTuple):
    """A queue that takes a message. ``limit``: the most messages that may wait; above it ``rejects``, or drops."""

    queue: int
    max_priority: int
    limit: int | None
    rejects: bool


class Exchange:
    """An exchange, its bindings, and where each key led so far."""

    def __init__(self, db: sqlite3.Connection, name: str, id: int, kind: ExchangeKind) -> None:
        self._db = db
        self._name = name
        self._id = id
        self._kind: ExchangeKind = kind
        self._all: list[tuple[Route, Binding]] | None = None
        self._of_key: dict[str, tuple[Route, ...]] = {}

    def routes(self, key: str, headers: Mapping[str, object]) -> tuple[Route, ...]:
        """Return the queues that get a message, each once."""
        if self._kind == "headers":
            return self._matching(key, headers)
        routes = self._of_key.get(key)
        if routes is None:
            routes = self._of_key[key] = self._matching(key, headers)
        return routes

    def _matching(self, key: str, headers: Mapping[str, object]) -> tuple[Route, ...]:
        found = (route for route, binding in self._bindings(key) if matches(self._kind, binding, key, headers))
        return tuple(dict.fromkeys(found))

    def _bindings(self, key: str) -> list[tuple[Route, Binding]]:
        """Return those that may match; a direct exchange may have one for each customer, so only its key's are read."""
        if self._kind == "direct":
            return self._read(_BINDINGS_OF_KEY, self._id, key)
        if self._all is None:
            self._all = self._read(_BINDINGS, self._id)
        return self._all

    def _read(self, statement: str, *values: object) -> list[tuple[Route, Binding]]:
        return [
            (
                Route(queue, most, limit, bool(rejects)),
                Binding(exchange=self._name, queue=name, key=key, headers=json.loads(headers), match=match),
            )
            for queue, most, limit, rejects, name, key, headers, match in self._db.execute(statement, values)
        ]


def find_route(db: sqlite3.Connection, queue: str) -> Route | None:
    """Return where the name of a queue leads, or ``None`` when there is no such queue."""
    try:
        row = db.execute(_QUEUE, (queue,)).fetchone()
    except UnicodeEncodeError:  # half of a surrogate pair, from a `reply_to` of others: no queue has such a name
        return None
    return row and Route(*row)


def find_exchange(db: sqlite3.Connection, name: str) -> Exchange | None:
    """Return an exchange, or ``None`` when there is no such one."""
    row = db.execute(_EXCHANGE, (name,)).fetchone()
    return row and Exchange(db, name, *row)
