"""Programs without taskq, as processes beside a test: those of `tests/support/peers`, and Debian's `amqp-tools`.

What they print goes to files, so that no pipe can fill up. Each is ended with its test, by its own process id.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.waiting import eventually

PEERS = Path(__file__).parent / "peers"
_RUNS_S = 30.0  # on a loaded machine


class NoAmqpTools(Exception):
    """The command line programs for AMQP are not there; says what to do."""


class Peer:
    """A program that runs beside the test, and what it printed so far."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def printed(self) -> list[str]:
        """Its whole lines so far."""
        return self._log.read_text("utf-8").split("\n")[:-1]

    async def prints(self, *lines: str) -> None:
        """Wait until it has printed these lines, in any order and among others."""

        def there() -> bool:
            printed = self.printed
            return all(printed.count(line) >= lines.count(line) for line in lines)

        await eventually(there, f"it prints {lines}", detail=lambda: "\n".join(self.printed))

    async def ended(self) -> list[str]:
        """Wait for its good end and return the lines that it printed."""
        await eventually(lambda: self._process.poll() is not None, "it ends", within_s=_RUNS_S, detail=self._told)
        assert self._process.returncode == 0, self._told()
        return self._told().splitlines()

    def kill(self) -> None:
        """End it without a word to the broker; harmless when it has ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _told(self) -> str:
        return self._log.read_text("utf-8", errors="replace")


class Peers:
    """Starts programs against the broker at ``url``; ``folder`` is the test's own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._folder = folder
        self._all: list[Peer] = []

    def start(self, script: str, *arguments: str) -> Peer:
        """Start a script of `tests/support/peers` and return at once."""
        return self._start([sys.executable, str(PEERS / f"{script}.py"), self.url, *arguments])

    async def waiting(self, script: str, *arguments: str) -> Peer:
        """Start a script that consumes, and wait until it does."""
        peer = self.start(script, *arguments)
        await peer.prints("waiting")
        return peer

    async def run(self, script: str, *arguments: str) -> list[str]:
        """Run a script to its end and return the lines that it printed."""
        return await self.start(script, *arguments).ended()

    async def post(self, queue: str, body: str, **properties: Any) -> None:
        """Publish to a queue that is there, with properties by pika's names."""
        await self.run("post", queue, body, json.dumps(properties))

    def start_tool(self, tool: str, *arguments: str) -> Peer:
        """Start a program of `amqp-tools` and return at once. Raises :class:`NoAmqpTools`."""
        found = shutil.which(tool)
        if found is None:
            raise NoAmqpTools(f"{tool} is missing: run `bash .ci/rabbitmq` as root, or install the package amqp-tools")
        return self._start([found, f"--url={self.url}", *arguments])

    async def run_tool(self, tool: str, *arguments: str) -> list[str]:
        """Run a program of `amqp-tools` to its end and return the lines that it printed."""
        return await self.start_tool(tool, *arguments).ended()

    def close(self) -> None:
        """End all of them."""
        for peer in self._all:
            peer.kill()

    def _start(self, command: list[str]) -> Peer:
        log = self._folder / f"peer-{len(self._all)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        peer = Peer(process, log)
        self._all.append(peer)
        return peer
