"""``taskq listen``: the events of an exchange, as they come."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any

import typer

from taskq.cli.complaint import Complaint
from taskq.cli.loading import App, find_exchange, load_app
from taskq.cli.options import AppDir, HeaderOption, Words, WordsCommand, read_headers
from taskq.cli.session import log_quietly, run
from taskq.cli.words import Form, default_app, split
from taskq.cli.working import taking_signals
from taskq.observability.safetext import one_line, printable_json
from taskq.tasks.event import Event
from taskq.tasks.exchange import Exchange
from taskq.tasks.exchanges import Match

command = typer.Typer(add_completion=False, rich_markup_mode=None)
_FORM = Form(("EXCHANGE",), ("KEY…",))


@command.command(cls=WordsCommand, options_metavar=_FORM.usage)
def listen(
    words: Words = None,
    *,
    header: HeaderOption = None,
    match_any: Annotated[bool, typer.Option("--any", help="One of the headers is enough; else all of them.")] = False,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a JSON object, for programs.")] = False,
    app_dir: AppDir = None,
) -> None:
    """Print the events of an exchange from now on, a line each, until Ctrl-C. KEY is a routing key or a pattern."""
    reference, (name, *keys) = split(words or (), _FORM, default_app())
    app = load_app(reference, app_dir)
    settings = app.settings()
    if settings.url.startswith("memory:"):
        raise Complaint("memory:// ends with this command; set TASKQ_URL to a broker that others publish to")
    log_quietly(settings)
    exchange = find_exchange(app, name)
    chosen = ("#",) if exchange.kind == "topic" and not keys else tuple(keys)
    match: Match = "any" if match_any else "all"
    headers = read_headers(header) or None
    said = f"listening to {exchange.name} ({exchange.kind}){' for ' if chosen else ''}{', '.join(chosen)}; Ctrl-C ends"

    async def show() -> None:
        async with exchange.listen(*chosen, headers=headers, match=match) as events:
            print(one_line(said), file=sys.stderr, flush=True)
            await _print(events, exchange, count, as_json=as_json)

    run(_until_stopped(app, show))


async def _until_stopped(app: App, show: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with app:
        showing = asyncio.create_task(show())

        def stop(reason: str) -> None:
            showing.cancel()

        with taking_signals(stop):
            await asyncio.wait({showing})
        if not showing.cancelled():
            await showing


async def _print(
    events: AsyncIterator[Event[Any]], exchange: Exchange[Any], count: int | None, *, as_json: bool
) -> None:
    left = count
    async for event in events:
        body = exchange.payload.write(event.payload).decode()
        print(_as_json(event, body) if as_json else _line(event, body), flush=True)
        left = None if left is None else left - 1
        if left == 0:
            break


def _line(event: Event[Any], body: str) -> str:
    time = "" if event.time is None else f"{event.time.astimezone():%H:%M:%S} "
    return one_line(f"{time}{event.key + ' ' if event.key else ''}{body}")


def _as_json(event: Event[Any], body: str) -> str:
    fields = {
        "id": event.id,
        "exchange": event.exchange,
        "key": event.key,
        "time": None if event.time is None else event.time.isoformat(),
        "headers": dict(event.headers),
    }
    return printable_json(f'{json.dumps(fields, ensure_ascii=True)[:-1]}, "payload": {body}}}')
