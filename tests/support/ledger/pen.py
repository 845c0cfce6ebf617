"""Writing a ledger: a file for each process, a ``write`` for each record: no buffer dies with the process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskq import Snooze
from tests.support.ledger.records import (
    Answered,
    Confirmed,
    Ended,
    Expired,
    Fault,
    GivenBack,
    Outcome,
    Record,
    Refused,
    Started,
    Unanswered,
    Wanted,
    to_line,
)

SUFFIX = ".ledger"


class Pen:
    """Appends to a ledger of its own in ``folder``. It may be used from several threads; close it at the end."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{os.getpid()}-{time.time_ns()}{SUFFIX}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o600)

    def write(self, record: Record) -> None:
        """Append a record. When this returns, only the death of the machine can lose it."""
        line = to_line(record)
        if os.write(self._file, line) != len(line):
            raise OSError(f"{self.path} took half a line; is the disk full?")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    # Producers and callers.

    def wanted(self, job: str, *, attempts: int = 1, not_before: float | None = None) -> None:
        """Say that ``job`` is about to be enqueued."""
        wanted = Wanted(job=job, at=time.time(), attempts=attempts, not_before=not_before, pid=os.getpid())
        self.write(wanted)

    def confirmed(self, job: str) -> None:
        """Say that the broker confirmed ``job``."""
        self.write(Confirmed(job=job, at=time.time()))

    def refused(self, job: str, *, why: str) -> None:
        """Say that the broker did not take ``job``."""
        self.write(Refused(job=job, at=time.time(), why=why))

    def answered(self, job: str, *, of: str) -> None:
        """Say that the caller of ``job`` got the result of ``of``."""
        self.write(Answered(job=job, at=time.time(), of=of))

    def unanswered(self, job: str, *, why: str) -> None:
        """Say that the caller of ``job`` got an error instead of a result."""
        self.write(Unanswered(job=job, at=time.time(), why=why))

    # Workers.

    @contextmanager
    def execution(self, job: str, *, attempt: int, execution: int, queue: str = "") -> Iterator[None]:
        """Write down the start of an execution, and how the block ended."""
        pid = os.getpid()
        self.write(Started(job=job, at=time.time(), pid=pid, attempt=attempt, execution=execution, queue=queue))
        outcome = Outcome.FAILED
        try:
            yield
            outcome = Outcome.RETURNED
        except asyncio.CancelledError:
            outcome = Outcome.CUT
            raise
        except Snooze:
            outcome = Outcome.SNOOZED
            raise
        finally:
            ended = Ended(job=job, at=time.time(), pid=pid, attempt=attempt, execution=execution, outcome=outcome)
            self.write(ended)

    def given_back(self, job: str) -> None:
        """Say that ``job`` is about to be put back, and was not run."""
        self.write(GivenBack(job=job, at=time.time(), pid=os.getpid()))

    def expired(self, job: str) -> None:
        """Say that ``job`` was dropped because its time was over."""
        self.write(Expired(job=job, at=time.time()))

    # The test.

    @contextmanager
    def fault(self, what: str, *, pid: int | None = None) -> Iterator[None]:
        """Write down that the block breaks something."""
        began = time.time()
        try:
            yield
        finally:
            self.write(Fault(what=what, at=began, until=time.time(), pid=pid))
