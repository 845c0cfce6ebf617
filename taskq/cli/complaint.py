"""What a command says when it cannot do its work: one line, and a status. Never a traceback of ours."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING

from taskq.cli.status import Status
from taskq.errors import BrokerError, TaskqError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Complaint(Exception):
    """A reason to end the command: ``text`` says what is wrong and what to do."""

    def __init__(self, text: str, status: Status = Status.USAGE) -> None:
        self.status = status
        super().__init__(text)


def status_of(error: TaskqError | Complaint) -> Status:
    """Return the exit status for an error."""
    match error:
        case Complaint():
            return error.status
        case UsageError():
            return Status.USAGE
        case BrokerError():
            return Status.BROKER
        case _:
            return Status.FAILED


def say(text: object) -> None:
    """Write one line for people to standard error."""
    from taskq.observability.safetext import one_line  # noqa: PLC0415  # `taskq --help` needs neither

    line = one_line(" ".join(str(text).split()))
    head = "\x1b[1mtaskq:\x1b[0m" if sys.stderr.isatty() else "taskq:"
    print(f"{head} {line}", file=sys.stderr)


def did_you_mean(given: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Return ``; did you mean 'x'?`` with the closest names, else ``otherwise`` with all of them, else nothing."""
    names = sorted(known)
    close = get_close_matches(given, names, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(map(repr, close))}?"
    return f"; {otherwise} {', '.join(names)}" if otherwise and names else ""
