"""Real ``taskq worker`` processes: start, wait until they consume, signal, and look at what they logged.

Every process is ended with its test, whatever happens, by pid: its own, and those that its log names as its children.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
PROGRAM = "tests.support.program:app"
_START_S = 30.0  # on a loaded machine
_GONE_S = 10.0


class WorkerProcess:
    """A ``taskq worker`` in a process group of its own. Its log goes to a file, so that no pipe can fill up."""

    def __init__(
        self, arguments: tuple[str, ...], environment: Mapping[str, str], log: Path, *, program: str = PROGRAM
    ) -> None:
        self._log = log
        self._program = program
        command = [sys.executable, "-m", "taskq", "worker", program, *arguments]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that was started: the worker, or the supervisor with ``--processes``."""
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it wrote so far."""
        return self._log.read_text(errors="replace")

    @property
    def status(self) -> int | None:
        """Its exit status, ``None`` while it runs."""
        return self._process.poll()

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return its log lines of one kind of lifecycle event, in order."""
        return [line for line in self._lines() if line.get("event") == kind]

    def stray_output(self) -> list[str]:
        """Return what it wrote beside the log: nothing, as long as all is well."""
        return [line for line in self.output.splitlines() if line and _parsed(line) is None]

    async def consuming(self, *, workers: int = 1) -> None:
        """Wait until it consumes: it itself, or ``workers`` processes under it, counted since its start."""

        def ready() -> bool:
            assert self.status is None, f"it ended with {self.status}:\n{self.output}"
            return len(self.events("WorkerStarted")) >= workers

        await eventually(ready, f"{workers} consume", within_s=_START_S, detail=lambda: self.output)

    async def ended(self, *, within_s: float = 20.0) -> int:
        """Wait for its end and return its exit status."""
        what = f"worker {self.pid} ends"
        await eventually(lambda: self.status is not None, what, within_s=within_s, detail=lambda: self.output)
        assert self.status is not None
        return self.status

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it alone."""
        self._process.send_signal(number)

    def send_group(self, number: signal.Signals) -> None:
        """Send a signal to all its process group, as a terminal does for Ctrl-C."""
        os.killpg(self.pid, number)

    def close(self) -> None:
        """End it and its children, whatever they do."""
        children = {event["pid"] for event in self.events("WorkerStarted")} - {self.pid}
        self._end_group()
        self._process.wait(_GONE_S)
        for pid in children:
            if self._program.encode() in _command_line(pid):  # else the pid is gone, or somebody else's by now
                os.kill(pid, signal.SIGKILL)

    def _end_group(self) -> None:
        # While the process is there, or its number is free and only its children bear it, the group is ours.
        if self._process.poll() is None or not _command_line(self.pid):
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _lines(self) -> list[dict[str, Any]]:
        return [parsed for line in self.output.splitlines() if (parsed := _parsed(line)) is not None]


class Workers:
    """The worker processes of one test. ``environment`` names their broker and ledger, ``program`` their app."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *, program: str = PROGRAM) -> None:
        self._folder = folder
        self._environment = environment
        self._program = program
        self.all: list[WorkerProcess] = []

    def launch(self, *arguments: str) -> WorkerProcess:
        """Start one and return at once."""
        log = self._folder / f"worker-{len(self.all)}.log"
        worker = WorkerProcess(arguments, self._environment, log, program=self._program)
        self.all.append(worker)
        return worker

    async def start(self, *arguments: str) -> WorkerProcess:
        """Start one and wait until it consumes."""
        worker = self.launch(*arguments)
        await worker.consuming()
        return worker

    def close(self) -> None:
        """End all of them."""
        for worker in self.all:
            worker.close()


def is_alive(pid: int) -> bool:
    """Say whether a process is there and not only waits for its parent to take note of its end."""
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
