"""The reader's terminals: commands of a page, run in the reader's folder on a pseudo-terminal, as the reader does."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import sys
import termios
from pathlib import Path

from tests.guide.page import ROOT, Block
from tests.guide.rabbitmq import PageRabbit
from tests.guide.transcript import difference

_PROMPT = "$ "
_ENDS_S = 30.0
_WINDOW = (50, 110)  # lines and columns
_PID = re.compile(r"\bworker (\d+)\b")


class Command:
    """A command on a terminal of its own. ``shown`` is the output that the page prints for it."""

    def __init__(self, place: str, shown: str) -> None:
        self.place = place
        self.shown = shown
        self.printed = ""
        self._bytes = bytearray()
        self._grown = asyncio.Event()
        self._ended = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, line: str, folder: Path, environment: dict[str, str]) -> int:
        """Start it and return its process id."""
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, _WINDOW)
        self._process = await asyncio.create_subprocess_exec(
            *("bash", "-c", line),
            cwd=folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        asyncio.get_running_loop().add_reader(ours, self._read, ours)
        return self._process.pid

    async def wrote(self, text: str) -> None:
        """Wait until it has written ``text``."""
        async with asyncio.timeout(_ENDS_S):
            while text not in self.printed:
                assert not self._ended.is_set(), f"{self.place} ended without {text!r}: {self.printed}"
                self._grown.clear()
                await self._grown.wait()

    async def end(self) -> None:
        """Wait for its end and for all that it wrote."""
        assert self._process is not None
        async with asyncio.timeout(_ENDS_S):
            await self._ended.wait()
            await self._process.wait()

    async def stop(self) -> None:
        """Interrupt it, if it still runs, and wait for its end."""
        self.signal(signal.SIGINT)
        await self.end()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def kill(self) -> None:
        """End it and what it started, if it still runs, and wait for that."""
        if self._process is None:
            return
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)  # a session of its own, so nobody else is in the group
        await self.end()

    def compare(self, folder: Path) -> None:
        """Raise ``AssertionError`` when it printed something else than the page shows."""
        differs = difference(self.shown, self.printed, str(folder))
        assert not differs, f"{self.place}: the output is another one\n{differs}"

    def _read(self, terminal: int) -> None:
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # nobody has the other end any more
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(terminal)
            os.close(terminal)
            self._ended.set()
        self._bytes += data
        self.printed = self._bytes.decode(errors="replace")
        self._grown.set()


class Terminal:
    """Runs the blocks of language ``console``: lines with ``$`` in front are commands, the others their output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._background: dict[str, Command] = {}
        self._started: list[Command] = []
        self._pids: dict[str, str] = {}  # as the page shows them, to real ones
        self._rabbit = PageRabbit()
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKQ_")}
        self._environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment["MYPY_CACHE_DIR"] = str(ROOT / ".mypy_cache" / "guide")  # else each run reads pydantic again
        self._environment |= {"COLUMNS": str(_WINDOW[1]), "TERM": "xterm", "NO_COLOR": "1"}

    async def play(self, block: Block) -> None:
        """Run the commands of a block. Raises ``AssertionError`` with the differences."""
        for wanted in filter(None, block.marks.get("after", "").split(";")):
            name, _, text = wanted.partition(":")
            await self._background[name].wrote(text)
        for line, shown in commands(block.text):
            command = Command(block.place, shown)
            self._started.append(command)
            real = await self._rabbit.with_real_url(self._with_real_pids(line))
            if "background" in block.marks:
                self._background[block.marks["background"]] = command
                pid = await command.start(f"exec env {real}", self.folder, self._environment)
                if found := _PID.search(shown):
                    self._pids[found[1]] = str(pid)
                await command.wrote(block.marks.get("until", "consumes"))
            else:
                await command.start(real, self.folder, self._environment)
                await command.end()
                command.compare(self.folder)

    async def stop(self, name: str) -> None:
        """Interrupt a command in the background, as Ctrl-C does."""
        await self._background[name].stop()

    async def close(self) -> None:
        """End what still runs, and compare all of it."""
        for command in self._background.values():
            await command.stop()
        for command in self._background.values():
            command.compare(self.folder)

    async def kill(self) -> None:
        """End what a failed page left running, and what it had on RabbitMQ."""
        for command in self._started:
            await command.kill()
        await self._rabbit.close()

    def _with_real_pids(self, line: str) -> str:
        for shown, real in self._pids.items():
            line = re.sub(rf"\b{shown}\b", real, line)
        return line


def commands(text: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output that is shown for it."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith(_PROMPT):
            found.append((line.removeprefix(_PROMPT), ""))
        elif found and found[-1][0].endswith("\\"):
            found[-1] = (f"{found[-1][0][:-1]} {line.strip()}", "")
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
        else:
            raise AssertionError(f"a console block begins with `$`, not with {line!r}")
    return found
