"""A process of a run: a worker or a producer. It can be hit, and is started again as a service manager does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import eventually
from tests.support.workers import ROOT

PROGRAM = "tests.chaos.program:app"
_GONE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a member does: its name in logs, and the arguments of the interpreter."""

    name: str
    arguments: tuple[str, ...]
    produces: bool = False


def worker(name: str, *, concurrency: int) -> Role:
    """Return a worker of all queues."""
    options = ("--concurrency", str(concurrency), "--grace", "10")
    return Role(name=name, arguments=("-m", "taskq", "worker", PROGRAM, *options))


def producer(name: str, ledger: Path, *, seed: int, rate: float) -> Role:
    """Return a producer and caller of ``rate`` jobs a second."""
    arguments = ("-m", "tests.chaos.load", str(ledger), str(seed), str(rate))
    return Role(name=name, arguments=arguments, produces=True)


class Member:
    """A role, and the process that has it now. ``variables``: what its environment says besides ours.

    ``asked_to_end``: it was told to, or hit so that it ends; any other end is a failure of the run.
    """

    def __init__(self, role: Role, variables: Mapping[str, str], folder: Path) -> None:
        self.role = role
        self._variables = variables
        self._folder = folder
        self._starts = 0
        self.asked_to_end = False
        self.process = self._launched()

    @property
    def pid(self) -> int:
        """The process that has the role now."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs; also while it is paused."""
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """What the process of now wrote so far."""
        return self._log_path.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.asked_to_end = True
        self.process.send_signal(number)

    async def ended(self, *, within_s: float) -> int:
        """Wait for its end and return its status."""
        what = f"{self.role.name} {self.pid} ends"
        await eventually(lambda: not self.alive, what, within_s=within_s, detail=lambda: self.log[-4000:])
        return self.process.returncode

    def start_again(self) -> None:
        """Start the role anew, after its process has ended."""
        assert not self.alive
        self.asked_to_end = False
        self.process = self._launched()

    def close(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait(_GONE_S)

    def _launched(self) -> subprocess.Popen[bytes]:
        self._log_path = self._folder / f"{self.role.name}-{self._starts}.log"
        self._starts += 1
        with self._log_path.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, *self.role.arguments],
                cwd=ROOT,
                env={**os.environ, **self._variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
