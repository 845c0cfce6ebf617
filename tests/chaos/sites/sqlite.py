"""A file of the embedded broker, on a small disk of its own, which a fault can fill."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from taskq import TaskQ
from tests.chaos.fault import Fault
from tests.chaos.faults import file, outage, processes

# What has to be gone when the run's own process is the only one that is open.
_LEFT = {
    "processes": "SELECT count(*) - 1 FROM process",
    "consumers": "SELECT count(*) FROM consumer",
    "claims": "SELECT count(*) FROM message WHERE claim IS NOT NULL",
    "reply or temporary queues": "SELECT count(*) FROM queue WHERE kind IN ('reply', 'temporary')",
    "messages without a queue": "SELECT count(*) FROM message WHERE queue NOT IN (SELECT id FROM queue)",
}
_DISK_BYTES = 256 << 20
_EMPTIED_S = 30.0


class SqliteSite:
    """Implements :class:`tests.chaos.world.Site`. Only root may mount a disk: for anybody else none is ever full."""

    def __init__(self, folder: Path) -> None:
        self._may_mount = os.geteuid() == 0
        self.name = f"SQLite {sqlite3.sqlite_version}" + ("" if self._may_mount else " (no disk to fill: not root)")
        self.faults: tuple[Fault, ...] = (*processes.FAULTS, *file.FAULTS, *outage.FAULTS)
        if self._may_mount:
            self.faults += file.DISK_FAULTS
        self._disk = folder / "disk"
        self.path = self._disk / "broker.db"

    async def __aenter__(self) -> Self:
        self._disk.mkdir()
        if self._may_mount:
            await asyncio.to_thread(self._mount)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.heal()
        if self._may_mount:
            await asyncio.to_thread(_run, "umount", "--lazy", str(self._disk))

    def url(self, role: str) -> str:
        """All members open the one file."""
        return f"sqlite:///{self.path}"

    async def heal(self) -> None:
        """Nothing here stays broken."""

    def empty_log(self) -> None:
        """Have all that the log holds in the file itself. It blocks."""
        until = time.monotonic() + _EMPTIED_S
        with closing(sqlite3.connect(self.path, timeout=1.0, isolation_level=None)) as database:
            while database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                assert time.monotonic() < until, "the log cannot be emptied"

    def _mount(self) -> None:
        """A file system in a file: its flushes take as long as those of the disk below it."""
        image = self._disk.with_name("disk.image")
        with image.open("wb") as file:
            file.truncate(_DISK_BYTES)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        _run("mount", "-o", "loop", str(image), str(self._disk))

    async def leftovers(self, app: TaskQ[object]) -> list[str]:
        """Return reply queues, claims and consumers; the run's own process is the only one that is open."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as database:
            counts = {what: database.execute(query).fetchone()[0] for what, query in _LEFT.items()}
            (sound,) = database.execute("PRAGMA integrity_check").fetchone()
        found = [f"{number} {what}" for what, number in counts.items() if number]
        return found if sound == "ok" else [*found, f"the file is damaged: {sound}"]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
