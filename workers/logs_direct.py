"""Routing: log lines with a severity as their routing key, and listeners that choose severities.

Two terminals: one shows all of them, one keeps errors::

    taskq worker workers.logs_direct:app --queue show
    taskq worker workers.logs_direct:app --queue errors

A third one publishes::

    taskq publish workers.logs_direct:app logs.direct '"the queue is empty"' --key info
    taskq publish workers.logs_direct:app logs.direct '"the disk is full"' --key error

``errors`` is durable: the broker keeps errors for it while it does not run. More listeners, with other choices, need no
code::

    taskq listen workers.logs_direct:app logs.direct warning error
"""

from __future__ import annotations

import os
from pathlib import Path

from taskq import Context, Event, TaskQ

app = TaskQ("logs-direct")
logs = app.exchange("logs.direct", kind="direct", payload=str)


@logs.subscribe("debug", "info", "warning", "error")
async def show(line: str, event: Event[str]) -> None:
    """Show a line in the worker's own log."""
    Context.current().log.info("%s: %s", event.key, line)


@logs.subscribe("error", queue="errors")
def keep(line: str) -> None:
    """Append an error to the file ``errors.txt``, or what ERRORS_FILE names."""
    with Path(os.environ.get("ERRORS_FILE", "errors.txt")).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
