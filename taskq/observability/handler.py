"""The handler of the command line: it writes the lines of usual jobs once for each turn of the event loop.

A write costs more than the line that it writes, and a busy worker has a line for each job. So a line about what happens
to every job waits for the end of the turn in which it was made. Any other line is written at once, with all that wait
before it: a task that blocks, or ends the process, has its own lines written by then, and the order is kept.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TextIO

from taskq.observability.lines import USUAL_LEVELS

_USUAL = frozenset(kind.__name__ for kind in USUAL_LEVELS)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines to ``stream``; from threads without an event loop, each at once."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, now or with this turn. The caller holds the handler's lock."""
        try:
            self._waiting.append(self.format(record) + self.terminator)
            if not (_is_usual(record) and self._written_later()):
                self.flush()
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write all that waits."""
        self.acquire()
        try:
            lines, self._waiting = self._waiting, []
            if lines:
                self.stream.write("".join(lines))
            super().flush()
        finally:
            self.release()

    def _written_later(self) -> bool:
        """Say whether the event loop writes what waits, at the end of this turn."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if len(self._waiting) == 1:
            loop.call_soon(self._flush_turn)
        return True

    def _flush_turn(self) -> None:
        try:
            self.flush()
        except Exception:
            self.handleError(logging.makeLogRecord({"msg": "lines of this turn could not be written"}))


def _is_usual(record: logging.LogRecord) -> bool:
    fields: dict[str, object] = getattr(record, "taskq", {})
    return fields.get("event") in _USUAL
