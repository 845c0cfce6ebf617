"""Log records for lifecycle events, and how they look: for people on a terminal, as JSON elsewhere.

A library does not configure logging; :func:`configure` is for the command line. In a program of your own, the logger
``taskq`` gets the lines, and ``subscribe`` connects it to an app.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

from taskq.lifecycle import Emitter, Event
from taskq.observability.handler import LineHandler
from taskq.observability.lines import USUAL_LEVELS, line_for
from taskq.observability.safetext import printable
from taskq.settings import LogFormat

_log = logging.getLogger("taskq")
_COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
_PLAIN = "\x1b[0m"
_LIBRARIES = ("aio_pika", "aiormq", "pamqp")  # what they shout about, the events of the broker say once
_OF_LOGGING = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "taskq"}
_ATTRIBUTES_OF_OURS = len(vars(logging.makeLogRecord({"taskq": {}})))  # with more, some are a caller's


def subscribe(emitter: Emitter) -> None:
    """Log every event that ``emitter`` emits, under the logger ``taskq``."""
    emitter.on(Event, _write, unless=_is_quiet)


def _is_quiet(kind: type[Event]) -> bool:
    """Whether lines of this kind are not written at the present level."""
    return not _log.isEnabledFor(USUAL_LEVELS.get(kind, logging.CRITICAL))


def _write(event: Event) -> None:
    if _is_quiet(type(event)):
        return
    line = line_for(event)
    if _log.isEnabledFor(line.level):
        # As `_log.log` does it, without the search for the line of code that logs, which would only ever find this one.
        extra = {"taskq": line.fields}
        _log.handle(_log.makeRecord(_log.name, line.level, __file__, 0, "%s", (line.text,), None, extra=extra))


def configure(format: LogFormat, level: str, stream: TextIO | None = None) -> None:
    """Send all logging to ``stream`` (standard error) in the given format; ``AUTO`` asks whether it is a terminal."""
    out = sys.stderr if stream is None else stream
    human = out.isatty() if format is LogFormat.AUTO else format is LogFormat.HUMAN
    handler = LineHandler(out)
    handler.setFormatter(HumanFormatter(colour=out.isatty()) if human else JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)


class HumanFormatter(logging.Formatter):
    """``12:03:41.123 INFO images.resize done in 12 ms, attempt 1 [job …]``."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        when = f"{_local_second(int(record.created))}.{_millis(record):03d}"
        text = record.getMessage()
        if job_id := getattr(record, "job_id", None):
            text = f"{text} [job {job_id}]"
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        colour = _COLOURS.get(record.levelno, "") if self._colour else ""
        shown = text if hasattr(record, "taskq") else printable(text)  # lines of ours are made safe before
        return f"{when} {colour}{record.levelname:<7}{_PLAIN if colour else ''} {shown}"


class JsonFormatter(logging.Formatter):
    """One JSON object on each line: ``time``, ``level``, ``logger``, ``message``, and the fields of the event, of the
    job, and of the caller's own ``extra``.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{_second(int(record.created))}.{_millis(record):03d}+00:00",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "taskq", {})
        if len(vars(record)) > _ATTRIBUTES_OF_OURS:
            line |= {k: v for k, v in vars(record).items() if k not in _OF_LOGGING and k not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _json(line)


_json = json.JSONEncoder(default=str).encode  # `json.dumps` with a `default` makes another encoder for each line


@lru_cache(maxsize=2)
def _second(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=2)
def _local_second(instant: int) -> str:
    return datetime.fromtimestamp(instant).strftime("%H:%M:%S")


def _millis(record: logging.LogRecord) -> int:
    return int(record.created % 1 * 1000)
