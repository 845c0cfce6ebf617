"""Publish and subscribe: every listener gets every log line. One shows them, one writes them to a file.

Two terminals::

    taskq worker workers.logs_fanout:app --queue show
    taskq worker workers.logs_fanout:app --queue save

A third one publishes::

    taskq publish workers.logs_fanout:app logs '"the disk is nearly full"'

Both are temporary subscriptions: what is published while one does not run, it does not get. The file is ``logs.txt``,
or what LOGS_FILE names.
"""

from __future__ import annotations

import os
from pathlib import Path

from taskq import Context, TaskQ

app = TaskQ("logs-fanout")
logs = app.exchange("logs", kind="fanout", payload=str)


@logs.subscribe()
async def show(line: str) -> None:
    """Show a line in the worker's own log."""
    Context.current().log.info("%s", line)


@logs.subscribe()
def save(line: str) -> None:
    """Append a line to the file; a ``def``, so that the disk holds up nobody."""
    with Path(os.environ.get("LOGS_FILE", "logs.txt")).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
