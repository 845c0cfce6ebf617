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
_CLAIM_OF_ONE = "SELECT id, claim FROM message WHERE id = ?"
_DELETE_ONE = "DELETE FROM message WHERE id = ?"


class Held:
    """Of one transaction. ``messages``: those that its operations settle."""

    def __init__(self, db: sqlite3.Connection, messages: Sequence[int]) -> None:
        self._db = db
        self._messages = messages
        self._claims: dict[int, int | None] | None = None
        self._settled: list[int] = []

    def has(self, message: int, claim: int) -> bool:
        """Say whether ``claim`` still has ``message``."""
        if self._claims is None:
            self._claims = self._read()
        return self._claims.get(message) == claim

    def settle(self, message: int) -> None:
        """Delete ``message``, which a claim has: from now on none has it, and :meth:`write` removes the row."""
        if self._claims is not None:
            del self._claims[message]
        self._settled.append(message)

    def write(self) -> None:
        """Remove the rows of what was settled."""
        settled, self._settled = self._settled, []
        if len(settled) == 1:
            self._db.execute(_DELETE_ONE, settled)
        elif settled:
            self._db.execute(_DELETE, (json.dumps(settled),))

    def forget(self) -> None:
        """To be called after :meth:`write` by an operation that gives back what others hold."""
        self._claims = None

    def _read(self) -> dict[int, int | None]:
        messages = self._messages
        if len(messages) == 1:
            return dict(self._db.execute(_CLAIM_OF_ONE, messages).fetchall())
        return dict(self._db.execute(_CLAIMS, (json.dumps(messages),)).fetchall())
