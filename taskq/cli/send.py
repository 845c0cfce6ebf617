"""``taskq send``: a job from the command line."""

from __future__ import annotations

import sys
from typing import Annotated, Any, cast

import typer

from taskq.cli.arguments import JobArguments, read_arguments
from taskq.cli.complaint import Complaint, say
from taskq.cli.loading import App, find_task, load_app
from taskq.cli.options import AppDir, Words, WordsCommand
from taskq.cli.session import log_quietly, run
from taskq.cli.status import Status
from taskq.cli.words import Form, default_app, split
from taskq.errors import TaskFailed
from taskq.observability.safetext import printable_json
from taskq.tasks.options import OptionArguments
from taskq.tasks.task import AnyTask, ResultTask

command = typer.Typer(add_completion=False, rich_markup_mode=None)
FORM = Form(("TASK",), ("JSON",))


@command.command(cls=WordsCommand, options_metavar=FORM.usage)
def send(
    words: Words = None,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result and print it as JSON.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0.001, help="Seconds that --wait waits; else 60.")] = None,
    delay: Annotated[float | None, typer.Option(help="Seconds before the job may start.")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher goes first, on a queue with priorities.")] = None,
    expires: Annotated[float | None, typer.Option(help="Seconds after which it is not started any more.")] = None,
    job_id: Annotated[str | None, typer.Option(metavar="ID", help="An id of your own, instead of a new one.")] = None,
    app_dir: AppDir = None,
) -> None:
    """Enqueue a job and print its id. JSON is the object of its arguments by name, {} without it."""
    reference, (name, *body) = split(words or (), FORM, default_app())
    app = load_app(reference, app_dir)
    settings = app.settings()
    if settings.url.startswith("memory:"):
        raise Complaint("memory:// ends with this command, and the job with it; set TASKQ_URL to a broker with workers")
    log_quietly(settings)
    options: OptionArguments = {"delay": delay, "priority": priority, "expires": expires, "job_id": job_id}
    if timeout is not None:
        options["reply_timeout"] = timeout
    task = cast("ResultTask[..., Any]", find_task(app, name).with_options(**options))
    run(_send(app, task, read_arguments(task, *body), f"taskq dead show {reference}" if wait else None))


async def _send(app: App, task: ResultTask[..., Any], given: JobArguments, shows: str | None) -> None:
    """``shows``: the command that shows a dead letter; without it, nobody waits for the end."""
    async with app:
        if shows is None:
            print((await task.enqueue(*given.args, **given.kwargs)).id, flush=True)
            if not await _has_worker(app, task):
                _mention_missing_worker(task)
            return
        missing = not await _has_worker(app, task)  # before the job comes, for a worker may end in the middle of it
        job = await task.submit(*given.args, **given.kwargs)
        if missing:
            _mention_missing_worker(task)
        try:
            value = await job.result()
        except TaskFailed as error:
            raise Complaint(f"{error}; see {shows} {task.queue} {error.job_id}", Status.FAILED) from None
        sys.stdout.write(printable_json(task.definition.signature.encode_result(value).decode()) + "\n")


async def _has_worker(app: App, task: AnyTask) -> bool:
    return any(state.name == task.queue and state.consumers for state in await app.queues())


def _mention_missing_worker(task: AnyTask) -> None:
    say(f"no worker consumes the queue {task.queue!r} at the moment; the job waits there for one")
