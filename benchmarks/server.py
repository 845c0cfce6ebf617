"""A server of the run's own: a free port of 127.0.0.1, a temporary folder, ended with its context."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from tests.support.rabbit.ports import free_ports

_START_S = 15.0
_STOP_S = 15.0


class NoServer(Exception):
    """A server is not to be had; says what to do, in one line."""


class Server:
    """What Redis and PostgreSQL have in common. A subclass says how to prepare, run and ask it."""

    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self._folder = TemporaryDirectory(prefix="taskq-server-")
        self.folder = Path(self._folder.name)
        self._running: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.prepare()
            with (self.folder / "said").open("wb") as output:
                self._running = subprocess.Popen(
                    self.command(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    **self.identity(),
                )
            self._wait()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def prepare(self) -> None:
        """Make what it needs before it starts."""

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """Return the user that it runs as, as arguments of a process."""
        return {}

    def close(self) -> None:
        """End it and remove its folder."""
        if self._running is not None:
            self._running.send_signal(self.stop_signal)
            try:
                self._running.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._running.pid, signal.SIGKILL)
                self._running.wait()
        self._folder.cleanup()

    def _wait(self) -> None:
        until = time.monotonic() + _START_S
        while not self.answers():
            assert self._running is not None
            if self._running.poll() is not None or time.monotonic() > until:
                said = (self.folder / "said").read_text(errors="replace").strip().splitlines()
                raise NoServer(f"{type(self).__name__} does not come up: {said[-1] if said else 'it said nothing'}")
            time.sleep(0.05)


def program(name: str, *folders: Path) -> str:
    """Return where a server's program is: in one of the folders, or on the path."""
    for folder in folders:
        if (folder / name).exists():
            return str(folder / name)
    found = shutil.which(name)
    if found is None:
        raise NoServer(f"{name} is not installed")
    return found


def somebody() -> pwd.struct_passwd | None:
    """Return a user for a server that refuses to be run by root; ``None`` when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoServer("PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`")
