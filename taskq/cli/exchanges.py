"""``taskq exchanges``: which exchanges the broker has."""

from __future__ import annotations

import typer

from taskq.broker.protocol import ExchangeState
from taskq.cli.looking import find_place, show_listing
from taskq.cli.options import AppDir, AsJson, Words, WordsCommand
from taskq.cli.words import Form

command = typer.Typer(add_completion=False, rich_markup_mode=None)
_COLUMNS = ("exchange", "kind", "durable")


@command.command(cls=WordsCommand, options_metavar=Form().usage)
def exchanges(
    words: Words = None,
    *,
    as_json: AsJson = False,
    app_dir: AppDir = None,
) -> None:
    """List the exchanges of the broker, without the default one. Without MODULE:APP it is the broker of TASKQ_URL."""
    place = find_place(words, app_dir)
    listing = place.ask(lambda inspector: inspector.list_exchanges(place.registry.exchanges))
    show_listing("exchanges", listing, _COLUMNS, _row, as_json=as_json)


def _row(state: ExchangeState) -> tuple[object, ...]:
    return state.name, state.kind, state.durable
