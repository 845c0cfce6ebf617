"""``taskq worker``: what it takes; :mod:`taskq.cli.working` and :mod:`taskq.cli.supervising` do it."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from taskq.cli.complaint import Complaint
from taskq.cli.loading import App, load_app
from taskq.cli.options import AppDir, Words, WordsCommand
from taskq.cli.orders import Orders
from taskq.cli.session import LogLevel, log_fully, run
from taskq.cli.status import Status
from taskq.cli.words import Form, default_app, split
from taskq.cli.working import run_worker
from taskq.settings import LogFormat

command = typer.Typer(add_completion=False, rich_markup_mode=None)
_FORM = Form()


@command.command(cls=WordsCommand, options_metavar=_FORM.usage)
def worker(
    words: Words = None,
    *,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=CONCURRENCY]", help="Consume this queue only, or temporary subscription; repeat it."
        ),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Jobs of each queue at a time; 1 unless settings say more.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=1024, help="Worker processes, kept running.")] = 1,
    max_jobs: Annotated[
        int | None, typer.Option(min=1, help="End after so many jobs; with --processes, a new one takes over.")
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(min=0, max=86_400, help="Seconds that running jobs get at a stop; else 30."),
    ] = None,
    burst: Annotated[bool, typer.Option("--burst", help="End when the queues are empty; 1 if a job died.")] = False,
    log_format: Annotated[
        LogFormat | None, typer.Option(help="How log lines look; auto: human on a terminal, else json.")
    ] = None,
    log_level: Annotated[
        LogLevel | None, typer.Option(help="Least level to log; else INFO.", case_sensitive=False)
    ] = None,
    app_dir: AppDir = None,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> int:
    """Run jobs until SIGTERM or Ctrl-C; a second one cuts the grace time short."""
    # Until the event loop has taken the signals over, SIGTERM ends the start like Ctrl-C: nothing runs yet.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    reference, _ = split(words or (), _FORM, default_app())
    orders = Orders(
        reference=reference,
        queues=_queues(queue),
        concurrency=concurrency,
        grace_s=grace,
        burst=burst,
        max_jobs=max_jobs,
        supervised=supervised,
        log_format=log_format,
        log_level=log_level,
        app_dir=app_dir,
    )
    try:
        app = load_app(reference, app_dir)
        log_fully(app.settings(), log_format, log_level)
        return run_worker(app, orders) if processes == 1 else _run_several(app, orders, processes)
    except KeyboardInterrupt:
        return Status.OK


def _run_several(app: App, orders: Orders, processes: int) -> int:
    from taskq.cli.supervising import supervise  # noqa: PLC0415  # a single worker has no supervisor to import

    return run(supervise(app, orders, processes))


def _queues(given: list[str] | None) -> dict[str, int | None] | None:
    if not given:
        return None
    queues: dict[str, int | None] = {}
    for text in given:
        name, equals, number = text.rpartition("=") if "=" in text else (text, "", "")
        if name in queues:
            raise Complaint(f"--queue {name} is given twice; name each queue once")
        if not name or (equals and not _is_concurrency(number)):
            raise Complaint(f"--queue {text}: write NAME or NAME=CONCURRENCY, with a whole number from 1 to 65535")
        queues[name] = int(number) if equals else None
    return queues


def _is_concurrency(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65_535
