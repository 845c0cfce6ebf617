"""One transaction, and what it does to queues: rows that wait to be inserted, and who is to be woken after the commit.

Inserts are gathered and written in one go before the next operation reads messages, and at the end. What is
remembered about queues lives as long as the transaction, which nobody else can write in.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from taskq.broker.sqlite.packing import PackedMessage
from taskq.errors import Unroutable

_QUEUE = "SELECT id, max_priority FROM queue WHERE name = ?"
_COLUMNS = 5
_INSERT = "INSERT INTO message (queue, priority, ready_at, properties, body) VALUES "
_MANY = 64  # rows of one statement; each statement costs a hand-over of the interpreter's lock
_INSERT_ONE = f"{_INSERT}(?,?,?,?,?)"
_INSERT_MANY = _INSERT + ",".join(["(?,?,?,?,?)"] * _MANY)
_EARLIEST = "SELECT min(ready_at) FROM message WHERE queue = ? AND claim IS NULL AND ready_at IS NOT NULL"


class Route(NamedTuple):
    """Where a message goes."""

    queue: int
    max_priority: int


class Batch:
    """The operations of one transaction see the database through it. It never begins or ends the transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._routes: dict[str, Route | None] = {}
        self._rows: list[object] = []
        self._ready: set[int] = set()
        self._delayed: dict[int, float] = {}

    def route(self, name: str) -> Route | None:
        """Return where ``name`` leads, or ``None`` when there is no such queue."""
        try:
            return self._routes[name]
        except KeyError:
            row = self.db.execute(_QUEUE, (name,)).fetchone()
            route = self._routes[name] = row and Route(*row)
            return route

    def forget_routes(self) -> None:
        """To be called by an operation that adds or removes queues."""
        self._routes.clear()

    def check(self, packed_messages: tuple[PackedMessage, ...]) -> None:
        """Raise :class:`Unroutable` when one of them cannot be put; nothing is written."""
        for packed in packed_messages:
            if packed.mandatory and self.route(packed.queue) is None:
                raise Unroutable(packed.queue)

    def put(self, packed: PackedMessage) -> bool:
        """Insert a message; say whether a queue took it. Raises :class:`Unroutable` before it writes."""
        route = self.route(packed.queue)
        if route is None:
            if packed.mandatory:
                raise Unroutable(packed.queue)
            return False
        queue, most = route
        ready_at = packed.ready_at
        self._rows += (
            queue,
            max(0, min(packed.priority, most)),
            ready_at,
            packed.properties,
            packed.body,
        )
        if ready_at is None:
            self._ready.add(queue)
        else:
            self._delayed[queue] = min(ready_at, self._delayed.get(queue, ready_at))
        return True

    def made_ready(self, queue: int) -> None:
        """Note that ``queue`` has a message to give."""
        self._ready.add(queue)

    def write(self) -> None:
        """Insert what waits, in order."""
        rows, self._rows = self._rows, []
        many = _MANY * _COLUMNS
        whole = len(rows) - len(rows) % many
        for at in range(0, whole, many):
            self.db.execute(_INSERT_MANY, rows[at : at + many])
        for at in range(whole, len(rows), _COLUMNS):
            self.db.execute(_INSERT_ONE, rows[at : at + _COLUMNS])

    def woken(self) -> set[int]:
        """Return the queues whose consumers have to look: something is ready, or due earlier than they know."""
        for queue, due in self._delayed.items():
            (earliest,) = self.db.execute(_EARLIEST, (queue,)).fetchone()
            if earliest is not None and due <= earliest:
                self._ready.add(queue)
        return self._ready
