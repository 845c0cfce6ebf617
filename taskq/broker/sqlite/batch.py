"""One transaction, and what it does to queues: rows that wait to be inserted, and who is to be woken after the commit.

Inserts, and deletions of what was settled, are gathered and written in one go before the next operation reads
messages, and at the end. What is remembered about queues and exchanges lives as long as the transaction, which nobody
else can write in.

A queue may have a limit of messages that wait. One that rejects what is above it is counted once, and again after
messages were read or moved; that comes before anything of the message is inserted. One that drops the oldest is cut
when the inserts are written: who reads it sees the same as if each insert had cut it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence

from taskq.broker.sqlite.held import Held
from taskq.broker.sqlite.packing import PackedMessage
from taskq.broker.sqlite.route import Exchange, Route, find_exchange, find_route
from taskq.errors import BrokerBlocked, BrokerError, Unroutable

_COLUMNS = 5
_INSERT = "INSERT INTO message (queue, priority, ready_at, properties, body) VALUES "
_MANY = 64  # rows of one statement; each statement costs a hand-over of the interpreter's lock
_INSERT_ONE = f"{_INSERT}(?,?,?,?,?)"
_INSERT_MANY = _INSERT + ",".join(["(?,?,?,?,?)"] * _MANY)
_EARLIEST = "SELECT min(ready_at) FROM message WHERE queue = ? AND claim IS NULL AND ready_at IS NOT NULL"
_LENGTH = "SELECT count(*) FROM message WHERE queue = ? AND claim IS NULL AND ready_at IS NULL"
_CUT = """
DELETE FROM message WHERE id IN (
  SELECT id FROM message WHERE queue = ? AND claim IS NULL AND ready_at IS NULL ORDER BY priority, id DESC
  LIMIT -1 OFFSET ?
)
"""
_LABEL = "SELECT coalesce(label, name) FROM queue WHERE id = ?"


class Batch:
    """The operations of one transaction see the database through it. It never begins or ends the transaction.

    ``settling``: the messages that they settle.
    """

    def __init__(self, db: sqlite3.Connection, label: str, settling: Sequence[int] = ()) -> None:
        self.db = db
        self.held = Held(db, settling)
        self._label = label
        self._routes: dict[str, Route | None] = {}
        self._exchanges: dict[str, Exchange | None] = {}
        self._room: dict[int, int] = {}  # of queues that reject: how many messages more they take
        self._cuts: dict[int, int] = {}  # queues that drop, and their limits
        self._rows: list[object] = []
        self._ready: set[int] = set()
        self._delayed: dict[int, float] = {}

    def route(self, name: str) -> Route | None:
        """Return where ``name`` leads, or ``None`` when there is no such queue."""
        try:
            return self._routes[name]
        except KeyError:
            route = self._routes[name] = find_route(self.db, name)
            return route

    def exchange(self, name: str) -> Exchange:
        """Return an exchange. Raises :class:`BrokerError` when there is no such one."""
        if name not in self._exchanges:
            self._exchanges[name] = find_exchange(self.db, name)
        exchange = self._exchanges[name]
        if exchange is None:
            raise BrokerError(
                f"exchange {name!r} does not exist on {self._label}; start the program that declares it, or declare it "
                "in this one"
            )
        return exchange

    def forget_routes(self) -> None:
        """To be called by an operation that adds or removes queues, exchanges or bindings."""
        self._routes.clear()
        self._exchanges.clear()

    def check(self, packed_messages: tuple[PackedMessage, ...]) -> None:
        """Raise what :meth:`put` would raise for one of them; nothing of them is written."""
        wanted: Counter[int] = Counter()
        for packed in packed_messages:
            for route in self._routes_of(packed):
                if route.rejects and packed.ready_at is None:
                    wanted[route.queue] += 1
                    if wanted[route.queue] > self._room_of(route):
                        raise self._is_full(route)

    def put(self, packed: PackedMessage) -> bool:
        """Insert a message, once for each queue that takes it; say whether one did.

        Before it writes it raises :class:`Unroutable`, :class:`BrokerBlocked` when one of the queues is full, and
        :class:`BrokerError` when the exchange does not exist.
        """
        route = None if packed.outgoing.exchange else self.route(packed.queue)
        if route is not None and route.limit is None:  # nearly always
            self._insert(packed, route)
            return True
        routes = self._routes_of(packed)
        for route in routes:
            if route.rejects and packed.ready_at is None and self._room_of(route) < 1:
                raise self._is_full(route)
        for route in routes:
            self._insert(packed, route)
        return bool(routes)

    def _routes_of(self, packed: PackedMessage) -> tuple[Route, ...]:
        outgoing = packed.outgoing
        if outgoing.exchange:
            routes = self.exchange(outgoing.exchange).routes(outgoing.queue, outgoing.message.headers)
        else:
            route = self.route(packed.queue)
            routes = () if route is None else (route,)
        if not routes and packed.mandatory:
            raise Unroutable(outgoing.queue, outgoing.exchange)
        return routes

    def _insert(self, packed: PackedMessage, route: Route) -> None:
        queue, most, limit, rejects = route
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
            if limit is None:
                return
            if rejects:
                self._room[queue] -= 1
            else:
                self._cuts[queue] = limit
        else:
            self._delayed[queue] = min(ready_at, self._delayed.get(queue, ready_at))

    def _room_of(self, route: Route) -> int:
        room = self._room.get(route.queue)
        if room is None:
            self._flush()
            (length,) = self.db.execute(_LENGTH, (route.queue,)).fetchone()
            room = self._room[route.queue] = (route.limit or 0) - length
        return room

    def _is_full(self, route: Route) -> BrokerBlocked:
        (label,) = self.db.execute(_LABEL, (route.queue,)).fetchone()
        return BrokerBlocked(
            f"{label!r} has {route.limit} messages waiting, which is its limit, and refuses more, so the message was "
            "stored nowhere; try again later, raise the limit, or let it drop the oldest (overflow='drop-head')"
        )

    def made_ready(self, queue: int) -> None:
        """Note that ``queue`` has a message to give."""
        self._ready.add(queue)

    def write(self) -> None:
        """Delete what was settled, insert what waits, in order, and cut queues that are above their limit.

        Messages may be moved after it.
        """
        self.held.write()
        self._flush()
        self._room.clear()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        many = _MANY * _COLUMNS
        whole = len(rows) - len(rows) % many
        for at in range(0, whole, many):
            self.db.execute(_INSERT_MANY, rows[at : at + many])
        for at in range(whole, len(rows), _COLUMNS):
            self.db.execute(_INSERT_ONE, rows[at : at + _COLUMNS])
        cuts, self._cuts = self._cuts, {}
        for queue, limit in cuts.items():
            self.db.execute(_CUT, (queue, limit))

    def woken(self) -> set[int]:
        """Return the queues whose consumers have to look: something is ready, or due earlier than they know."""
        for queue, due in self._delayed.items():
            (earliest,) = self.db.execute(_EARLIEST, (queue,)).fetchone()
            if earliest is not None and due <= earliest:
                self._ready.add(queue)
        return self._ready
