"""``taskq queues``: which queues the broker has, and how much is in them."""

from __future__ import annotations

import typer

from taskq.broker.protocol import QueueState
from taskq.cli.looking import find_place, show_listing
from taskq.cli.options import AppDir, AsJson, Words, WordsCommand
from taskq.cli.words import Form

command = typer.Typer(add_completion=False, rich_markup_mode=None)
_COLUMNS = ("queue", "ready", "unsettled", "delayed", "consumers")


@command.command(cls=WordsCommand, options_metavar=Form().usage)
def queues(
    words: Words = None,
    *,
    as_json: AsJson = False,
    app_dir: AppDir = None,
) -> None:
    """List the queues of the broker: jobs that are ready, taken and not settled, delayed; and consumers.

    Without MODULE:APP it is the broker of TASKQ_URL.
    """
    place = find_place(words, app_dir)
    names = {task.queue for task in place.registry.tasks.values()} | set(place.registry.own_queues())
    listing = place.ask(lambda inspector: inspector.list_queues(names))
    show_listing("queues", listing, _COLUMNS, _row, as_json=as_json)


def _row(state: QueueState) -> tuple[object, ...]:
    return state.name, state.ready, state.unsettled, state.delayed, state.consumers
