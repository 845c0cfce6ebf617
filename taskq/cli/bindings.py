"""``taskq bindings``: which exchange passes what on to which queue, and the removal of what the app left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from taskq.cli.complaint import Complaint
from taskq.cli.looking import Place, find_place, show_listing
from taskq.cli.options import AppDir, AsJson, Words, WordsCommand
from taskq.cli.session import run
from taskq.cli.status import Status
from taskq.cli.table import show_json
from taskq.cli.words import Form, default_app
from taskq.inspection.bindings import stale_bindings
from taskq.observability.safetext import one_line
from taskq.tasks.exchanges import Binding
from taskq.tasks.registry import Registry

command = typer.Typer(add_completion=False, rich_markup_mode=None)
_COLUMNS = ("exchange", "queue", "key", "match", "headers")

Prune = Annotated[
    bool,
    typer.Option("--prune", help="Remove bindings of the app's subscriptions that it does not declare any more."),
]


@command.command(cls=WordsCommand, options_metavar=Form().usage)
def bindings(
    words: Words = None,
    *,
    prune: Prune = False,
    as_json: AsJson = False,
    app_dir: AppDir = None,
) -> None:
    """List which exchange passes what on to which queue. Without MODULE:APP it is the broker of TASKQ_URL."""
    if prune and not (words or default_app()):
        raise Complaint("--prune needs the app, which says what is declared: write MODULE:APP, or set TASKQ_APP")
    place = find_place(words, app_dir)
    if prune:
        return _prune(place, as_json=as_json)
    listing = place.ask(lambda inspector: inspector.list_bindings())
    return show_listing("bindings", listing, _COLUMNS, _row, as_json=as_json)


def _prune(place: Place, *, as_json: bool) -> None:
    removed: list[Binding] = []

    def note(binding: Binding) -> None:
        removed.append(binding)
        if not as_json:
            print(f"removed {one_line(_text(binding))}", flush=True)

    run(_remove_stale(place, note))
    if as_json:
        show_json([dict(zip(_COLUMNS, _row(binding), strict=True)) for binding in removed])
    elif not removed:
        print("nothing to remove")


async def _remove_stale(place: Place, note: Callable[[Binding], None]) -> None:
    async with place.looking as app:
        broker = app.connection.broker
        listing = await broker.inspector.list_bindings()
        if listing.unknown is not None:
            raise Complaint(f"nothing was removed, since {listing.unknown}", Status.BROKER)
        for binding in stale_bindings(listing.items, _declared(place.registry)):
            await broker.unbind(binding)
            note(binding)


def _declared(registry: Registry) -> list[Binding]:
    """Return the bindings of the app's durable subscriptions, but for queues that belong to somebody else."""
    ours = {name for name, queue in registry.own_queues().items() if queue.declare}
    return [binding for binding in registry.bindings() if binding.queue in ours]


def _row(binding: Binding) -> tuple[object, ...]:
    match = binding.match if binding.headers else None
    return binding.exchange, binding.queue, binding.key, match, dict(binding.headers)


def _text(binding: Binding) -> str:
    shown = [f"key {binding.key!r}"] if binding.key else []
    if binding.headers:
        shown.append(f"{binding.match} of {', '.join(f'{name}={value}' for name, value in binding.headers.items())}")
    return f"{binding.exchange} -> {binding.queue}" + (f" ({'; '.join(shown)})" if shown else "")
