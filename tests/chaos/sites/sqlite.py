"""A file of the embedded broker, in a folder of its own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from taskq import TaskQ
from tests.chaos.fault import Fault
from tests.chaos.faults import processes

# What has to be gone when the run's own process is the only one that is open.
_LEFT = {
    "processes": "SELECT count(*) - 1 FROM process",
    "consumers": "SELECT count(*) FROM consumer",
    "claims": "SELECT count(*) FROM message WHERE claim IS NOT NULL",
    "reply or temporary queues": "SELECT count(*) FROM queue WHERE kind IN ('reply', 'temporary')",
    "messages without a queue": "SELECT count(*) FROM message WHERE queue NOT IN (SELECT id FROM queue)",
}


class SqliteSite:
    """Implements :class:`tests.chaos.world.Site`."""

    name = f"SQLite {sqlite3.sqlite_version}"
    faults: tuple[Fault, ...] = processes.FAULTS

    def __init__(self, folder: Path) -> None:
        self.path = folder / "broker.db"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.heal()

    def url(self, role: str) -> str:
        """All members open the one file."""
        return f"sqlite:///{self.path}"

    async def heal(self) -> None:
        """Nothing here stays broken."""

    async def leftovers(self, app: TaskQ[object]) -> list[str]:
        """Return reply queues, claims and consumers; the run's own process is the only one that is open."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as database:
            counts = {what: database.execute(query).fetchone()[0] for what, query in _LEFT.items()}
            (sound,) = database.execute("PRAGMA integrity_check").fetchone()
        found = [f"{number} {what}" for what, number in counts.items() if number]
        return found if sound == "ok" else [*found, f"the file is damaged: {sound}"]
