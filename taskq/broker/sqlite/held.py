"""The messages that a batch settles: who holds them is read at once, and they are deleted at once.

A statement for each would cost each time a way through the interpreter's lock, which the event loop wants too. What was
read holds until somebody else's claims are changed in the same transaction; then :meth:`Held.forget` is called.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

_CLAIMS = "SELECT id, claim FROM message WHERE id IN (SELECT value FROM json_each(?))"
_DELETE = "DELETE FROM message WHERE id IN (SELECT value FROM json_each(?))"
_SETTLE_ONE = "DELETE FROM message WHERE id = ? AND claim = ?"


class Held:
    """Of one transaction. ``messages``: those that its operations settle."""

    def __init__(self, db: sqlite3.Connection, messages: Sequence[int]) -> None:
        self._db = db
        self._messages = messages
        self._claims: dict[int, int | None] | None = None
        self._settled: list[int] = []

    def has(self, message: int, claim: int) -> bool:
        """Say whether ``claim`` still has ``message``."""
        return self._known().get(message) == claim

    def settle(self, message: int, claim: int) -> bool:
        """Delete ``message`` if ``claim`` still has it; the row goes with :meth:`write` at the latest."""
        if self._claims is None and len(self._messages) == 1:
            return self._db.execute(_SETTLE_ONE, (message, claim)).rowcount == 1
        claims = self._known()
        if claims.get(message) != claim:
            return False
        del claims[message]
        self._settled.append(message)
        return True

    def write(self) -> None:
        """Remove the rows of what was settled."""
        settled, self._settled = self._settled, []
        if settled:
            self._db.execute(_DELETE, (json.dumps(settled),))

    def forget(self) -> None:
        """To be called after :meth:`write` by an operation that gives back what others hold."""
        self._claims = None

    def _known(self) -> dict[int, int | None]:
        if self._claims is None:
            self._claims = dict(self._db.execute(_CLAIMS, (json.dumps(self._messages),)).fetchall())
        return self._claims
