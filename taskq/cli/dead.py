"""``taskq dead``: look at dead letters, put them back, or drop them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from taskq.broker.names import origin_of
from taskq.cli.complaint import Complaint, did_you_mean
from taskq.cli.letters import as_json, cells, show_letter
from taskq.cli.loading import App, load_app
from taskq.cli.options import AppDir, AsJson, Words, WordsCommand
from taskq.cli.session import log_quietly, onlooker, run
from taskq.cli.status import Status
from taskq.cli.table import show_json, show_table
from taskq.cli.words import Form, default_app, split
from taskq.errors import Unroutable
from taskq.wire.dead import DeadLetter

command = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Look at dead letters, put them back, or drop them.",
)
_QUEUE = Form(("QUEUE",))
_ONE = Form(("QUEUE", "JOB_ID"))
_SOME = Form(("QUEUE",), ("JOB_ID…",))
_EVERY = 1_000_000  # dead letters of one queue; who has more wants another tool

All = Annotated[bool, typer.Option("--all", help="All dead letters of the queue.")]


@command.command("list", cls=WordsCommand, options_metavar=_QUEUE.usage)
def list_letters(
    words: Words = None,
    *,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many, the oldest first.")] = 100,
    json: AsJson = False,
    app_dir: AppDir = None,
) -> None:
    """List the dead letters of a queue, the oldest first."""
    app, queue, _ = _open(words, _QUEUE, app_dir)
    letters = run(_letters(app, queue, limit + 1))
    shown = letters[:limit]
    if json:
        return show_json([as_json(letter) for letter in shown])
    if not shown:
        return print(f"no dead letters of {queue}")
    show_table(["job", "task", "reason", "error", "attempts", "died at"], [cells(x) for x in shown], wide=3)
    if len(letters) > limit:
        print(f"there are more than {limit}; --limit shows more")
    return None


@command.command("show", cls=WordsCommand, options_metavar=_ONE.usage)
def show(
    words: Words = None,
    *,
    json: AsJson = False,
    app_dir: AppDir = None,
) -> None:
    """Show all there is to know about one dead letter."""
    app, queue, job_ids = _open(words, _ONE, app_dir)
    letters = run(_chosen(app, queue, job_ids))
    if json:
        return show_json(as_json(letters[-1], whole=True))
    return show_letter(letters[-1])


@command.command("retry", cls=WordsCommand, options_metavar=_SOME.usage)
def retry(
    words: Words = None,
    *,
    every: All = False,
    app_dir: AppDir = None,
) -> None:
    """Put dead letters back on their queue; they begin at attempt 1 again."""
    app, queue, job_ids = _open(words, _SOME, app_dir)
    count = run(_rework(app, queue, _choice("retry", job_ids, every), drop=False))
    print(f"put {_counted(count)} back on {queue}")


@command.command("drop", cls=WordsCommand, options_metavar=_SOME.usage)
def drop(
    words: Words = None,
    *,
    every: All = False,
    app_dir: AppDir = None,
) -> None:
    """Remove dead letters for good."""
    app, queue, job_ids = _open(words, _SOME, app_dir)
    count = run(_rework(app, queue, _choice("drop", job_ids, every), drop=True))
    print(f"dropped {_counted(count)} of {queue}")


def _open(words: Sequence[str] | None, form: Form, app_dir: Path | None) -> tuple[App, str, tuple[str, ...]]:
    """Return the app, the queue (a log line names its dead-letter queue, so that is taken too) and what follows."""
    reference, (queue, *job_ids) = split(words or (), form, default_app())
    app = load_app(reference, app_dir)
    log_quietly(app.settings())
    return app, origin_of(queue), tuple(job_ids)


def _choice(verb: str, job_ids: tuple[str, ...], every: bool) -> tuple[str, ...] | None:
    if every == bool(job_ids):
        raise Complaint(f"which dead letters? taskq dead {verb} takes job ids, or --all" + (", not both" * every))
    return job_ids or None


def _counted(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"


async def _letters(app: App, queue: str, limit: int = _EVERY) -> list[DeadLetter]:
    async with onlooker(app) as looking:
        return await _list(looking, app, queue, limit)


async def _chosen(app: App, queue: str, job_ids: Sequence[str]) -> list[DeadLetter]:
    letters = [letter for letter in await _letters(app, queue) if letter.job_id in job_ids]
    _refuse_unknown(queue, letters, job_ids)
    return letters


async def _rework(app: App, queue: str, job_ids: Sequence[str] | None, *, drop: bool) -> int:
    async with onlooker(app) as looking:
        letters = await _list(looking, app, queue, _EVERY)
        _refuse_unknown(queue, letters, job_ids or ())
        if not letters:
            return 0
        return await (looking.dead_letters.drop if drop else looking.dead_letters.retry)(queue, job_ids)


async def _list(looking: App, app: App, queue: str, limit: int) -> list[DeadLetter]:
    try:
        return await looking.dead_letters.list(queue, limit=limit)
    except Unroutable:
        if queue in app.registry().own_queues():
            return []  # no worker has declared it yet
        known = {origin_of(state.name) for state in await looking.queues()} | set(app.registry().own_queues())
        raise Complaint(f"no queue {queue!r}{did_you_mean(queue, known, otherwise='there are')}") from None


def _refuse_unknown(queue: str, letters: Sequence[DeadLetter], job_ids: Sequence[str]) -> None:
    there = {letter.job_id for letter in letters}
    if unknown := [job_id for job_id in job_ids if job_id not in there]:
        hint = did_you_mean(unknown[0], there) or "; taskq dead list shows them"
        raise Complaint(f"no dead letter {', '.join(unknown)} of {queue}, so nothing was done{hint}", Status.FAILED)
