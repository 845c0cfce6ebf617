"""A system of several programs on one broker, as users run it: workers and listeners beside each other, and senders.

The applications are those of `workers/`, and `tests.support.orders`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from taskq import TaskQ
from tests.support.commandline import Running, Terminal
from tests.support.workers import ROOT

T = TypeVar("T")


class System(Terminal):
    """Workers and listeners of any application. Their folder is the test's, so the files that they write are there."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        super().__init__(folder, {"PYTHONPATH": str(ROOT), **variables})

    def workers(self, *commands: tuple[str, ...]) -> list[Running]:
        """Start a worker for each tuple of arguments, and wait until all of them consume."""
        started = [self.start("worker", *arguments) for arguments in commands]
        for worker in started:
            worker.until(lambda each=worker: consumes(each), "it consumes")
        return started

    def listeners(self, *commands: tuple[str, ...]) -> list[Running]:
        """Start a `taskq listen --json` for each tuple of arguments, and wait until all of them are bound."""
        started = [self.start("listen", *arguments, "--json") for arguments in commands]
        for listener in started:
            listener.until(lambda each=listener: "listening to " in each.log, "it listens")
        return started

    def lines(self, file: str) -> list[str]:
        """Return the lines of a file that a worker writes, none before it is there."""
        path = self.folder / file
        return path.read_text().splitlines() if path.exists() else []


def consumes(worker: Running) -> bool:
    """Say whether a worker consumes, and fail when it has ended."""
    assert worker.runs, worker.log
    return bool(worker.events("WorkerStarted"))


def done(worker: Running) -> list[str]:
    """Return the ids of the jobs and events that a worker has done, in their order."""
    return [event["job_id"] for event in worker.events("JobSucceeded")]


def notes(worker: Running) -> list[str]:
    """Return what the handlers of a worker have logged themselves."""
    return [line["message"] for line in worker.objects if "job_id" in line and "event" not in line]


def heard(listener: Running) -> list[tuple[str, Any]]:
    """Return key and payload of all that a listener has printed."""
    return [(event["key"], event["payload"]) for event in listener.objects if "payload" in event]


def until_done(workers: Iterable[Running], number: int) -> None:
    """Wait until workers have done so many jobs together."""
    several = list(workers)
    several[0].until(lambda: sum(len(done(worker)) for worker in several) >= number, f"{number} jobs are done")


def stop(worker: Running) -> None:
    """Stop a worker as a service manager does."""
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0


def inside(app: TaskQ[Any], work: Callable[[], Awaitable[T]]) -> T:
    """Run a program that has the app open, in the test's own process: quicker than a command for each message."""

    async def program() -> T:
        async with app:
            return await work()

    return asyncio.run(program())
