"""``taskq publish``: an event from the command line."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from taskq.cli.complaint import Complaint
from taskq.cli.loading import App, find_exchange, load_app
from taskq.cli.options import AppDir, HeaderOption, Words, WordsCommand, read_headers
from taskq.cli.payload import read_payload
from taskq.cli.session import log_quietly, run
from taskq.cli.words import Form, default_app, split
from taskq.tasks.exchange import Exchange
from taskq.tasks.options import HeaderValue

command = typer.Typer(add_completion=False, rich_markup_mode=None)
_FORM = Form(("EXCHANGE", "JSON"))


@command.command(cls=WordsCommand, options_metavar=_FORM.usage)
def publish(
    words: Words = None,
    *,
    key: Annotated[str, typer.Option(help="The routing key.")] = "",
    header: HeaderOption = None,
    mandatory: Annotated[
        bool, typer.Option("--mandatory", help="Fail when nobody subscribes to it; else that is no error.")
    ] = False,
    app_dir: AppDir = None,
) -> None:
    """Publish an event and print its id. JSON is its payload."""
    reference, (name, text) = split(words or (), _FORM, default_app())
    app = load_app(reference, app_dir)
    settings = app.settings()
    if settings.url.startswith("memory:"):
        raise Complaint("memory:// ends with this command; set TASKQ_URL to a broker that others subscribe on")
    log_quietly(settings)
    exchange = find_exchange(app, name)
    run(_publish(app, exchange, read_payload(exchange, text), key, read_headers(header), mandatory=mandatory))


async def _publish(
    app: App, exchange: Exchange[Any], payload: Any, key: str, headers: dict[str, HeaderValue], *, mandatory: bool
) -> None:
    async with app:
        print(await exchange.publish(payload, key=key, headers=headers or None, mandatory=mandatory))
