"""``taskq ping``: whether the broker answers, for health probes."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from taskq.cli.complaint import Complaint, status_of
from taskq.cli.loading import App, load_app
from taskq.cli.options import AppDir, Words, WordsCommand
from taskq.cli.session import log_quietly, onlooker, run
from taskq.cli.status import Status
from taskq.cli.words import Form, default_app, split
from taskq.errors import TaskqError
from taskq.observability.safetext import one_line

command = typer.Typer(add_completion=False, rich_markup_mode=None)
_FORM = Form()
LIMIT_S = 5.0
_CONNECT_S = 3.0  # well below the limit: who gives up connecting knows why


@command.command(cls=WordsCommand, options_metavar=_FORM.usage)
def ping(
    words: Words = None,
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing; the exit status tells.")] = False,
    app_dir: AppDir = None,
) -> int:
    """Connect to the broker and ask it something, within 5 s. Exit status 0 if it answers, else 3."""
    try:
        app = load_app(split(words or (), _FORM, default_app())[0], app_dir)
        settings = app.settings()
        log_quietly(settings)
        label, took_s = run(_ping(onlooker(app, connect_timeout=min(settings.connect_timeout, _CONNECT_S))))
    except (Complaint, TaskqError) as error:
        if quiet:
            return status_of(error)
        raise
    if not quiet:
        print(f"{one_line(label)} answers after {took_s * 1000:.0f} ms")
    return Status.OK


async def _ping(app: App) -> tuple[str, float]:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(LIMIT_S), app:
            await app.queues()
            return app.connection.broker.label, time.perf_counter() - started
    except TimeoutError:
        raise Complaint(f"the broker did not answer within {LIMIT_S:g} s", Status.BROKER) from None
