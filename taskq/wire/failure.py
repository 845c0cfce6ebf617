"""An error as text that travels: type, message and traceback, each cut to a budget."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from taskq.wire.headers import cut

TYPE_BYTES = 200
MESSAGE_BYTES = 2_000
TRACEBACK_BYTES = 8_000


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed, in text. ``traceback`` may be empty."""

    type: str
    message: str
    traceback: str = ""

    @property
    def short(self) -> str:
        """One line: type and message."""
        return " ".join(f"{self.type}: {self.message}".split())

    def fitted(self) -> Failure:
        """Return it within the budgets of the wire."""
        return Failure(
            cut(self.type, TYPE_BYTES), cut(self.message, MESSAGE_BYTES), cut(self.traceback, TRACEBACK_BYTES)
        )


def describe(error: BaseException) -> Failure:
    """Return an exception as text. It survives exceptions whose ``str`` raises."""
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        message = str(error)
    except Exception as broken:
        message = f"<its text cannot be shown: {type(broken).__name__}>"
    return Failure(name, message, "".join(_lines(error))).fitted()


def _lines(error: BaseException) -> Iterator[str]:
    try:
        yield from traceback.TracebackException.from_exception(error, limit=-30).format()
    except Exception as broken:
        yield f"<its traceback cannot be shown: {type(broken).__name__}>"
