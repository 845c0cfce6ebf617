"""``taskq run``: a task here and now, without a broker, a worker, middleware, retries or a time limit."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import typer

from taskq.cli import session
from taskq.cli.arguments import JobArguments, read_arguments
from taskq.cli.complaint import Complaint, say
from taskq.cli.fault import show_traceback
from taskq.cli.loading import App, find_task, load_app
from taskq.cli.options import AppDir, Words, WordsCommand
from taskq.cli.send import FORM
from taskq.cli.status import Status
from taskq.cli.words import default_app, split
from taskq.errors import InvalidArguments
from taskq.observability.safetext import printable_json
from taskq.tasks.context import Context, Running, current_context
from taskq.tasks.control import Reject, Retry, Snooze
from taskq.tasks.definition import TaskDefinition
from taskq.wire.ids import new_job_id
from taskq.worker.threads import start_thread

command = typer.Typer(add_completion=False, rich_markup_mode=None)


@command.command(cls=WordsCommand, options_metavar=FORM.usage)
def run(
    words: Words = None,
    *,
    app_dir: AppDir = None,
) -> int:
    """Run a task in this process and print its result as JSON. The app's lifespan runs around it."""
    reference, (name, *body) = split(words or (), FORM, default_app())
    app = load_app(reference, app_dir)
    settings = app.settings()
    session.log_quietly(settings)
    task = find_task(app, name)
    if task.definition.run == "remote":
        raise Complaint(f"task {name!r} is a stub of a task that other code runs; use taskq send")
    given = read_arguments(task, *body)
    task.bind(*given.args, **given.kwargs)  # what a worker would refuse is refused here too
    timeout_s = app.registry(settings).timeout_of(task.definition)
    return session.run(_run(app, task.definition, given, timeout_s))


async def _run(app: App, definition: TaskDefinition, given: JobArguments, timeout_s: float) -> Status:
    try:
        async with app.worker_state() as state:
            value = await _call(definition, given, _context(definition, state, timeout_s))
    except (Retry, Reject, Snooze) as asked:
        say(f"{definition.name} ended with {type(asked).__name__}: {asked}")
        return Status.FAILED
    except Exception as error:
        show_traceback(error)
        return Status.FAILED
    try:
        sys.stdout.write(printable_json(definition.signature.encode_result(value).decode()) + "\n")
    except InvalidArguments as error:
        raise Complaint(str(error), Status.FAILED) from None
    return Status.OK


async def _call(definition: TaskDefinition, given: JobArguments, context: Context[Any]) -> Any:
    current_context.set(Running(lambda: context))
    args = (context, *given.args) if definition.context else given.args
    function = partial(definition.function, *args, **given.kwargs)
    if inspect.iscoroutinefunction(definition.function):
        return await function()
    return await start_thread(function, definition.name)


def _context(definition: TaskDefinition, state: Any, timeout_s: float) -> Context[Any]:
    job_id = new_job_id()
    fields = {"job_id": job_id, "task": definition.name, "queue": definition.queue, "attempt": 1}
    return Context(
        job_id=job_id,
        task=definition.name,
        queue=definition.queue,
        attempt=1,
        execution=1,
        deadline=datetime.now(UTC) + timedelta(seconds=timeout_s),
        state=state,
        headers={},
        log=logging.LoggerAdapter(logging.getLogger("taskq.task"), fields),
        _loop=asyncio.get_running_loop(),
    )
