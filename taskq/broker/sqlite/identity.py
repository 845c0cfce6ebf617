"""Which file a database is in: device and inode of its path, compared with those of the file that was opened.

Theory of operation. A file that is deleted, moved or replaced while a process has it open stays that process's file: it
reads and writes on what no path names any more, and meets nobody. So the path is looked at again, at each regular look
and after each commit, before anybody hears of it: what is confirmed is in the file that others see. The log beside it
(``-wal``) is a part of the database, and is looked at with it, but only at the regular looks.

What is written over in place has the same inode. That is not noticed here; it is a damaged file.
"""

from __future__ import annotations

import os
from pathlib import Path

from taskq.clock import Clock

_LOOK_S = 0.5  # between two regular looks

_FileId = tuple[int, int]


class Identity:
    """Of the database at ``path``. To be made before it is opened; :meth:`settle` is called when it is open."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._wal_path = str(path), f"{path}-wal"
        self._file = _file_at(self._path)
        self._wal: _FileId | None = None
        self._clock = clock
        self._next_look = 0.0

    def settle(self) -> None:
        """Take note of what opening has made."""
        self._file = self._file or _file_at(self._path)

    def change(self) -> str | None:
        """Say what became of the file, in words behind its name; ``None`` when it is there. One look at the disk."""
        return _change(self._path, self._file)

    def look(self, *, at_once: bool) -> str | None:
        """Say what became of the file or of its log; it looks now and then, or ``at_once``."""
        now = self._clock.monotonic()
        if not at_once and now < self._next_look:
            return None
        self._next_look = now + _LOOK_S
        return self.change() or self._change_beside()

    def _change_beside(self) -> str | None:
        """Say what became of the log, in words behind the database's name. It is made at the first use."""
        if self._wal is None:
            self._wal = _file_at(self._wal_path)
        change = _change(self._wal_path, self._wal)
        return change and f"has lost its log: {self._wal_path} {change}"


def _change(path: str, opened: _FileId | None) -> str | None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None if opened is None else "was deleted or moved"
    except OSError:  # it cannot be looked at, which says nothing about the file
        return None
    return None if opened in (None, (found.st_dev, found.st_ino)) else "was replaced by another file"


def _file_at(path: str) -> _FileId | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
