"""SIGSTOP that has taken effect: a stop signal returns before the threads that it is for stand.

A thread that runs on another core, or waits for its turn on a busy machine, goes on for up to tens of milliseconds
after the signal was sent: long enough to answer, to commit, or to renew a lease.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

_WITHIN_S = 30.0
_LOOK_S = 0.0002
_STOPPED = {"t", "T"}
_GONE = {"Z", "X"}


def freeze(pid: int) -> None:
    """Stop a process, and return once all its threads stand; SIGCONT lets it go on.

    Raises ``AssertionError`` when it has ended.
    """
    os.kill(pid, signal.SIGSTOP)
    _until_still(pid)
    assert _states(pid) & _STOPPED, f"process {pid} has ended"


def freeze_group(group: int) -> None:
    """Stop all processes of a process group, and return once all their threads stand."""
    os.killpg(group, signal.SIGSTOP)
    for pid in _pids():
        if _group_of(pid) == group:
            _until_still(pid)


def of_threads(pid: int, name: str) -> list[str]:
    """Return what the system says about each thread of a process, in the file of that name below `/proc`."""
    found: list[str] = []
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        try:
            found.append((thread / name).read_text())
        except OSError:
            continue  # it has ended since
    return found


def _until_still(pid: int) -> None:
    until = time.monotonic() + _WITHIN_S
    while moving := _states(pid) - _STOPPED - _GONE:
        assert time.monotonic() < until, f"process {pid} does not stop: {moving}"
        time.sleep(_LOOK_S)


def _states(pid: int) -> set[str]:
    return {stat.rpartition(")")[2].split()[0] for stat in of_threads(pid, "stat")}


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
