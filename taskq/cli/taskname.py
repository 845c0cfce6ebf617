"""Finding what the command line names among what the app declares."""

from __future__ import annotations

from taskq.cli.complaint import Complaint, did_you_mean
from taskq.cli.loading import App
from taskq.tasks.task import AnyTask


def find_task(app: App, name: str) -> AnyTask:
    """Return the task with that name. Raises :class:`Complaint` with the closest names."""
    tasks = app.registry().tasks
    if name not in tasks:
        hint = did_you_mean(name, tasks, otherwise="there are") or "; it declares none"
        raise Complaint(f"app {app.name!r} has no task {name!r}{hint}")
    return tasks[name]
