"""``taskq check``: would a worker start? Each step is said; nothing is declared and nothing is run."""

from __future__ import annotations

import os
from collections.abc import Iterable

import typer

from taskq.broker.protocol import QueueState
from taskq.cli.complaint import Complaint
from taskq.cli.loading import App, load_app
from taskq.cli.options import AppDir, Words, WordsCommand
from taskq.cli.session import log_quietly, onlooker, run
from taskq.cli.status import Status
from taskq.cli.table import aligned
from taskq.cli.words import Form, default_app, split
from taskq.observability.safetext import one_line
from taskq.settings import Settings
from taskq.tasks.queues import Queue

command = typer.Typer(add_completion=False, rich_markup_mode=None)
_FORM = Form()


@command.command(cls=WordsCommand, options_metavar=_FORM.usage)
def check(
    words: Words = None,
    *,
    app_dir: AppDir = None,
) -> None:
    """Import the app, read its settings, connect, and say what a worker would declare. Change nothing."""
    reference, _ = split(words or (), _FORM, default_app())
    app = load_app(reference, app_dir)
    _say("app", f"{app.name!r} from {reference}")
    settings = app.settings()
    log_quietly(settings)
    _say("settings", _settings(settings))
    registry = app.registry(settings)
    own, stubs = len(registry.own()), len(registry.tasks) - len(registry.own())
    _say("tasks", f"{own} of its own, {stubs} remote")
    if registry.exchanges:
        durable, temporary = len(registry.subscribed()), len(registry.temporary())
        exchanges = ", ".join(f"{each.name} ({each.kind})" for each in registry.exchanges.values())
        _say("events", f"{exchanges}; subscriptions: {durable} durable, {temporary} temporary")
    label, states = run(_look(onlooker(app), registry.own_queues()))
    _say("broker", f"{label} answers" + (" (the default; TASKQ_URL chooses another)" if settings.by_default else ""))
    queues = registry.own_queues().values()
    nothing = "none" if registry.temporary() else "none: a worker would have nothing to do"
    _say("queues", f"a worker consumes {len(queues)}" if queues else nothing)
    rows = [_queue(queue, states, settings.concurrency) for queue in queues]
    for line in aligned(rows) if rows else ():
        print(f"          {one_line(line)}")
    if any(states[queue.name].delayed is None for queue in queues if queue.name in states):
        print("          ?: the broker does not tell how many jobs are delayed")
    if missing := [queue.name for queue in queues if not queue.declare and queue.name not in states]:
        raise Complaint(f"no queue {missing[0]!r}, and declare=False leaves it to its owner", Status.BROKER)


async def _look(app: App, queues: Iterable[str]) -> tuple[str, dict[str, QueueState]]:
    async with app:
        return app.connection.broker.label, {state.name: state for state in await app.queues(queues)}


def _say(step: str, text: str) -> None:
    print(f"{step:<9} {one_line(text)}", flush=True)


def _settings(settings: Settings) -> str:
    defaults = Settings.model_fields
    # URLs are left out: they may hold a password, and the broker's line shows its own without
    shown_at_all = [name for name in defaults if name not in ("url", "management_url")]
    changed = {n: getattr(settings, n) for n in shown_at_all if getattr(settings, n) != defaults[n].default}
    if not changed:
        return "all defaults"
    shown = (
        f"{n}={v}" + (" (TASKQ_" + n.upper() + ")" if f"TASKQ_{n.upper()}" in os.environ else "")
        for n, v in changed.items()
    )
    return ", ".join(shown)


def _queue(queue: Queue, states: dict[str, QueueState], concurrency: int) -> list[str]:
    state = states.get(queue.name)
    if state is not None:
        delayed = "?" if state.delayed is None else state.delayed
        there = f"there: {state.ready} ready, {delayed} delayed, {state.consumers} consumers"
    else:
        there = "would be declared" if queue.declare else "missing"
    slots = concurrency if queue.concurrency is None else queue.concurrency
    details = f"priorities to {queue.max_priority}" if queue.max_priority else ""
    return [f"{queue.name} × {slots}", there, details]
