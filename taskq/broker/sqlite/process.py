"""Who a process is, so that another can see whether it lives: pid and start time, in one boot and PID namespace."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_DEAD_STATES = ("Z", "X")  # ended; a zombie only waits for its parent
_STATE, _START_TIME = 0, 19  # fields of /proc/<pid>/stat behind the name, which may hold spaces and brackets


@dataclass(frozen=True, slots=True)
class Process:
    """A process. ``start_time`` is ``None`` and the texts are empty where the system does not tell."""

    pid: int
    start_time: int | None
    boot_id: str
    pid_namespace: str

    def is_seen_from(self, other: Process) -> bool:
        """Say whether ``other`` can look it up by its pid."""
        return (self.boot_id, self.pid_namespace) == (other.boot_id, other.pid_namespace)

    def is_gone(self) -> bool:
        """Say whether a process that can be seen from here has ended. Its pid may belong to another one by now."""
        if _PROC.joinpath("self", "stat").exists():
            stat = _stat(self.pid)
            if stat is not None:
                return stat[_STATE] in _DEAD_STATES or self.start_time != int(stat[_START_TIME])
        try:  # no /proc, or one that hides the processes of other users
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # somebody else's, but alive
        return False


def this_process() -> Process:
    """Return who we are."""
    stat = _stat(os.getpid())
    try:
        namespace = os.readlink(_PROC / "self" / "ns" / "pid")
        boot_id = _PROC.joinpath("sys", "kernel", "random", "boot_id").read_text("ascii").strip()
    except OSError:
        namespace = boot_id = ""
    return Process(os.getpid(), int(stat[_START_TIME]) if stat else None, boot_id, namespace)


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
