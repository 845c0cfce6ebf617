"""The command `taskq` as a user has it: real processes in a folder of their own.

`Terminal` runs commands on any app and broker, `CommandLine` has an app and a broker file besides.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from taskq import TaskQ

SHOP = """
import asyncio, os, time
from contextlib import suppress
from pathlib import Path
from taskq import Context, Fixed, RetryPolicy, TaskQ

app = TaskQ("shop")
policy = RetryPolicy(attempts=2, backoff=Fixed(0.01))

def make() -> TaskQ:
    return app

@app.task
async def add(a: int, b: int = 2) -> int:
    return a + b

@app.task(retry=policy)
async def fail(text: str) -> None:
    if not Path("mended").exists():
        raise ValueError(text)

@app.task(queue="slow")
async def nap(seconds: float) -> None:
    Path(f"napping-{os.getpid()}").touch()
    await asyncio.sleep(seconds)

@app.task(queue="stuck")
def hang() -> None:
    Path("hanging").touch()
    while True:
        time.sleep(0.1)

@app.task(queue="stuck")
async def hang_in_pool() -> None:
    Path("hanging").touch()
    await asyncio.to_thread(time.sleep, 1000)

async def swallow() -> None:
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)

@app.task(queue="stuck")
async def hang_beside() -> None:
    beside = asyncio.create_task(swallow())
    Path("hanging").touch()
    await asyncio.sleep(1000)
    await beside

@app.task(context=True)
async def who(ctx: Context) -> tuple[str, int, str]:
    return ctx.task, ctx.attempt, Context.current().queue
"""
_DEADLINE_S = 30.0  # on a loaded machine
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Said:
    """What a command wrote, and its exit status."""

    status: int
    out: str
    err: str


class Running:
    """A process that goes on beside the test, in a session of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects that it wrote so far: log lines, and what `--json` prints."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{") and line.endswith("}")]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return its log lines of one kind so far."""
        return [line for line in self.objects if line.get("event") == kind]

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text()

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for a condition, and fail with the log when the process ends before it, or it does not come."""
        return eventually(condition, lambda: f"{what}\n{self.log}")

    def ended(self) -> int:
        """Wait for its end and return its exit status."""
        self.until(lambda: self._process.poll() is not None, "it ends")
        return self._process.returncode

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def send_group(self, number: signal.Signals) -> None:
        """Send a signal to its process group, as a terminal does for Ctrl-C."""
        os.killpg(self.pid, number)

    def close(self) -> None:
        """End it and the processes of its group, whatever they do."""
        # While it was not waited for, or its number is free and only its children bear it, the group is ours.
        if self.runs or not Path(f"/proc/{self.pid}").exists():
            with suppress(ProcessLookupError):
                self.send_group(signal.SIGKILL)
        self._process.wait()


class Terminal:
    """Runs `taskq` in `folder`; `variables` of the environment name its broker. What it starts ends with the block."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("TASKQ_")}
        self.environment |= {"PYTHONDONTWRITEBYTECODE": "1", **variables}
        self._running: list[Running] = []

    def run(self, *arguments: str, cwd: Path | None = None, **environment: str) -> Said:
        """Run a command to its end."""
        ended = subprocess.run(
            [sys.executable, "-m", "taskq", *arguments],
            cwd=cwd or self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
        return Said(ended.returncode, ended.stdout, ended.stderr)

    def start(self, *arguments: str) -> Running:
        """Start a command beside the test; its output goes to a file."""
        log = self.folder / f"log-{len(self._running)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "taskq", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        running = Running(process, log)
        self._running.append(running)
        return running

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for running in self._running:
            running.close()


class CommandLine(Terminal):
    """A terminal in a folder with `shop.py` and a broker file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {"TASKQ_URL": "sqlite:///broker.db"})
        (folder / "shop.py").write_text(SHOP)

    def enqueue(self, task: str, queue: str, **arguments: float) -> None:
        """Enqueue a job from the test's own process, which is quicker than `taskq send`."""
        app = TaskQ("sender", url=f"sqlite:///{self.folder / 'broker.db'}")

        @app.remote(task, queue=queue)
        def stub(**arguments: float) -> None:
            raise NotImplementedError

        async def enqueue() -> None:
            async with app:
                await stub.enqueue(**arguments)

        asyncio.run(enqueue())

    def start_worker(self, *arguments: str, count: int = 1) -> Running:
        """Start a worker and wait until it (or each of `count` children) consumes."""
        worker = self.start("worker", "shop:app", *arguments)
        worker.until(lambda: len(worker.events("WorkerStarted")) >= count, f"{count} consume")
        return worker


def eventually(condition: Callable[[], Any], what: Callable[[], str]) -> Any:
    """Return the first true value of a condition; fail after a while."""
    deadline = time.monotonic() + _DEADLINE_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {_DEADLINE_S:g} s: {what()}")
        time.sleep(_LOOK_S)
    return value


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
