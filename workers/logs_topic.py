"""Topics: log lines with ``facility.severity`` as their routing key, and listeners that choose by patterns.

In a pattern ``*`` stands for one word and ``#`` for none or more::

    taskq listen workers.logs_topic:app logs.topic '#'
    taskq listen workers.logs_topic:app logs.topic 'kern.*'
    taskq listen workers.logs_topic:app logs.topic 'kern.*' '*.critical'

Publish one::

    taskq publish workers.logs_topic:app logs.topic '{"host": "db1", "text": "out of memory"}' --key kern.critical

A worker alerts about what is critical, and archives everything; the archive is durable, and tries again::

    taskq worker workers.logs_topic:app
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel

from taskq import Context, Event, Exponential, RetryPolicy, TaskQ


class LogLine(BaseModel):
    """What happened, and where."""

    host: str
    text: str


app = TaskQ("logs-topic")
logs = app.exchange("logs.topic", kind="topic", payload=LogLine)


@logs.subscribe("kern.*", "*.critical")
async def alert(line: LogLine, event: Event[LogLine]) -> None:
    """Show what somebody should know at once."""
    Context.current().log.warning("%s on %s: %s", event.key, line.host, line.text)


@logs.subscribe("#", queue="archive", retry=RetryPolicy(attempts=5, backoff=Exponential(1, cap=60)))
def archive(line: LogLine, event: Event[LogLine]) -> None:
    """Append everything to the file ``archive.txt``, or what ARCHIVE_FILE names."""
    with Path(os.environ.get("ARCHIVE_FILE", "archive.txt")).open("a", encoding="utf-8") as file:
        file.write(f"{event.key} {line.host} {line.text}\n")
