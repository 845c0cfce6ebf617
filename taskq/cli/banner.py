"""What a worker says at its start to the person who watches. Elsewhere, the line of ``WorkerStarted`` says it.

The broker is in it only where the log line of ``AppOpened``, which goes before it, is not shown.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

from taskq import __version__
from taskq.cli.loading import App
from taskq.cli.orders import Orders
from taskq.observability.safetext import one_line
from taskq.settings import LogFormat

_MOST_TASKS = 12


def show_banner(app: App, slots: Mapping[str, int], orders: Orders, *, processes: int = 1) -> None:
    """Write the banner to standard error, when that is a terminal. The app is open."""
    settings = app.connection.settings
    format = orders.log_format or settings.log_format
    if format is LogFormat.JSON or not sys.stderr.isatty():
        return
    grace_s = settings.grace if orders.grace_s is None else orders.grace_s
    lines = _lines(app, slots, processes=processes, grace_s=grace_s, burst=orders.burst)
    head = f"\x1b[1;36mtaskq {__version__}\x1b[0m  \x1b[1m{one_line(app.name)}\x1b[0m"
    body = (f"  \x1b[2m{name:<7}\x1b[0m {one_line(text)}" for name, text in lines)
    print("\n".join(["", head, *body, ""]), file=sys.stderr, flush=True)


def _lines(app: App, slots: Mapping[str, int], *, processes: int, grace_s: float, burst: bool) -> list[tuple[str, str]]:
    is_logged = logging.getLogger("taskq").isEnabledFor(logging.INFO)
    broker = [] if is_logged else [("broker", app.connection.broker.label)]
    queues = ", ".join(f"{name} × {number}" for name, number in sorted(slots.items()))
    each = f" in each of {processes} processes" if processes > 1 else ""
    stop = "when the queues are empty" if burst else "Ctrl-C"
    return [
        *broker,
        ("queues", queues + each),
        *(("tasks", tasks) for tasks in [_tasks(app, slots)] if tasks),
        *(("events", events) for events in [_events(app, slots)] if events),
        ("stop", f"{stop}; running jobs then have {grace_s:g} s, a second Ctrl-C cuts that short"),
    ]


def _tasks(app: App, slots: Mapping[str, int]) -> str:
    names = sorted(task.name for task in app.tasks if task.definition.run != "remote" and task.queue in slots)
    more = f" and {len(names) - _MOST_TASKS} more (taskq tasks)" if len(names) > _MOST_TASKS else ""
    return ", ".join(names[:_MOST_TASKS]) + more


def _events(app: App, slots: Mapping[str, int]) -> str:
    """Return the subscriptions that are consumed, each with what it gets."""
    subscriptions = app.registry().subscriptions.values()
    consumed = [each for each in subscriptions if (each.queue or f"{each.name} (temporary)") in slots]
    shown = [f"{each.name} ← {each.exchange.name} {each.selects}".rstrip() for each in consumed[:_MOST_TASKS]]
    more = f" and {len(consumed) - _MOST_TASKS} more (taskq tasks)" if len(consumed) > _MOST_TASKS else ""
    return "; ".join(shown) + more
