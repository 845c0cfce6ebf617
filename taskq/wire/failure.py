"""An error as text that travels: type, message and traceback, each cut to a budget."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from taskq.wire.headers import cut

TYPE_BYTES = 200
MESSAGE_BYTES = 2_000
TRACEBACK_BYTES = 8_000
_SHORT_BYTES = 400
_WORKER = "taskq.worker."  # the package that runs tasks; its frames tell nothing of the task
_MOST_FRAMES = 30


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

    def shortened(self) -> Failure:
        """Return it where there is hardly any room: a message of 400 bytes and no traceback."""
        return Failure(cut(self.type, TYPE_BYTES), cut(self.message, _SHORT_BYTES))


def describe(error: BaseException) -> Failure:
    """Return an exception as text. It survives exceptions whose ``str`` raises.

    Its traceback begins in the task: the frames of our own that led there are left out.
    """
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    return Failure(name, message_of(error), "".join(_lines(error))).fitted()


def message_of(error: BaseException) -> str:
    """Return the text of an exception, also of one whose ``str`` raises."""
    try:
        return str(error)
    except Exception as broken:
        return f"<its text cannot be shown: {type(broken).__name__}>"


def _lines(error: BaseException) -> Iterator[str]:
    try:
        # A traceback of our frames alone is kept whole: then the fault may be ours.
        frames = _in_task(error.__traceback__) or error.__traceback__
        yield from traceback.TracebackException(type(error), error, frames, limit=-_MOST_FRAMES).format()
    except Exception as broken:
        yield f"<its traceback cannot be shown: {type(broken).__name__}>"


def _in_task(frames: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the first frame on that is not the worker's own."""
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith(_WORKER):
        frames = frames.tb_next
    return frames
