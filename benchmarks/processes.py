"""The processes of a measurement: a producer that prints its result, and a worker with all that it starts.

Each is in a session of its own, and ends with the context that started it, whatever happens.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

_STOP_S = 8.0
_LOOK_S = 0.01


class Failed(Exception):
    """A measurement has no result; says why in one line."""


@contextmanager
def process(
    command: list[str], environment: Mapping[str, str], folder: Path
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Have a process that is ended, with its children, when the context closes; the file is what it writes."""
    with TemporaryFile() as output:
        started = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield started, output
        finally:
            _end(started)


def _end(started: subprocess.Popen[bytes]) -> None:
    members = tree(started.pid)
    if started.poll() is None:
        started.terminate()
        try:
            started.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(started.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    for pid in members[1:]:
        _kill_if_in_session(pid, started.pid)
    started.wait()


def _kill_if_in_session(pid: int, session: int) -> None:
    """Children may have groups of their own, and still are of the session; a number used again is not."""
    try:
        if os.getsid(pid) == session:
            os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def tree(pid: int) -> list[int]:
    """Return the process and all below it, the parents first."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for each in found:
        found.extend(children.get(each, ()))
    return found


def pss_mb(pid: int) -> float:
    """Return the memory of a process and all below it, what they share counted once, in MB."""
    total = 0
    for each in tree(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def run(command: list[str], environment: Mapping[str, str], folder: Path, timeout_s: float) -> str:
    """Run a program to its end and return the last line that it wrote."""
    with process(command, environment, folder) as (running, output):
        try:
            status = running.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"no end of {Path(command[1]).name} after {timeout_s:g} s: {last_line(output)}") from None
        if status:
            raise Failed(f"{Path(command[1]).name} failed: {last_line(output)}")
        return last_line(output)


def wait_until(
    holds: Callable[[], bool], running: subprocess.Popen[bytes], output: IO[bytes], timeout_s: float
) -> None:
    """Wait for a condition while the worker lives."""
    until = time.monotonic() + timeout_s
    while not holds():
        if running.poll() is not None:
            raise Failed(f"the worker ended: {last_line(output)}")
        if time.monotonic() > until:
            raise Failed(f"not done after {timeout_s:g} s: {last_line(output)}")
        time.sleep(_LOOK_S)


def last_line(output: IO[bytes]) -> str:
    """Return the last line that a process wrote."""
    output.flush()
    output.seek(0)
    lines = output.read().decode(errors="replace").strip().splitlines()
    worded = (line.strip(" │╰╯") for line in reversed(lines) if any(letter.isalpha() for letter in line))
    return next(worded, "it said nothing")
