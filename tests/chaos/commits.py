"""Stopping a process in the middle of a commit to a database in WAL mode, so that it can be killed just there.

Theory of operation. No debugger and no hook: the process is stopped (SIGSTOP) at any moment, and once it stands the
system tells what it holds and in which call it was. Who has the write lock (a byte of the `-shm` file, in /proc/locks)
is inside a transaction; who has it and stands in a write or a flush of the `-wal` file is inside its commit, since
that file is written by commits alone. It cannot move on while it is stopped, so a SIGKILL then hits exactly there. One
that stands anywhere else goes on, and is stopped again a moment later.
"""

from __future__ import annotations

import os
import platform
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.support.freezing import freeze, of_threads

_WRITE_LOCK = 120  # the byte of it, see "WAL-mode file format" of SQLite
_LONGEST_PAUSE_S = 0.004
_LONGEST_STEP_S = 0.0002
_CALLS = {
    "x86_64": {18: "pwrite", 74: "fsync", 75: "fdatasync", 77: "ftruncate"},
    "aarch64": {46: "ftruncate", 68: "pwrite", 82: "fsync", 83: "fdatasync"},
}


def stop_in_commit(pid: int, database: Path, rng: Random, *, within_s: float = 30.0) -> str:
    """Stop a process inside a commit, and return the call that it stands in. It stays stopped.

    Raises ``AssertionError`` when it was inside none for so long, or has ended.
    """
    calls = _CALLS[platform.machine()]
    for locked in _stops(pid, database, rng, within_s):
        call = _call_on(pid, f"{database}-wal", calls) if locked else None
        if call is not None:
            return call
    raise AssertionError(f"within {within_s:g} s, process {pid} was never inside a commit")


def stop_between_commits(pid: int, database: Path, rng: Random, *, within_s: float = 30.0) -> None:
    """Stop a process that does not have the lock of the database. It stays stopped."""
    for locked in _stops(pid, database, rng, within_s):
        if not locked:
            return
    raise AssertionError(f"within {within_s:g} s, process {pid} was never outside a transaction")


def _stops(pid: int, database: Path, rng: Random, within_s: float) -> Iterator[bool]:
    """Stop a process, yield whether it has the lock, and let it go on when that was not enough."""
    until = time.monotonic() + within_s
    longest_s = _LONGEST_PAUSE_S
    while time.monotonic() < until:
        time.sleep(rng.uniform(0, longest_s))
        freeze(pid)
        locked = _has_write_lock(pid, Path(f"{database}-shm"))
        yield locked
        longest_s = _LONGEST_STEP_S if locked else _LONGEST_PAUSE_S  # the commit is at the end of a transaction
        os.kill(pid, signal.SIGCONT)


def _has_write_lock(pid: int, shm: Path) -> bool:
    inode = str(shm.stat().st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "->":  # somebody waits for it
            continue
        mode, owner, place, first, last = fields[3:8]
        ours = mode == "WRITE" and owner == str(pid) and place.rpartition(":")[2] == inode
        if ours and int(first) <= _WRITE_LOCK and (last == "EOF" or int(last) >= _WRITE_LOCK):
            return True
    return False


def _call_on(pid: int, path: str, calls: dict[int, str]) -> str | None:
    """Return the call on a file that a thread of the process is in."""
    for text in of_threads(pid, "syscall"):
        number, *arguments = text.split()
        if number in ("running", "-1") or int(number) not in calls:
            continue
        if _opened(pid, int(arguments[0], 16)) == path:
            return calls[int(number)]
    return None


def _opened(pid: int, descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{descriptor}")
    except OSError:
        return ""
