"""A Context for calling tasks directly in unit tests."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from taskq.tasks.context import Context, JobLog, Running, current_context
from taskq.tasks.options import HeaderValue

S = TypeVar("S")


@contextmanager
def context(
    *,
    state: S = None,  # type: ignore[assignment]  # no state: None, as in an app without a lifespan
    job_id: str = "00000000-0000-7000-8000-000000000000",
    task: str = "test",
    queue: str = "default",
    attempt: int = 1,
    execution: int | None = None,
    headers: Mapping[str, HeaderValue] | None = None,
) -> Generator[Context[S]]:
    """Make a Context current inside the block, so that tasks that take one can be called without a worker.

    ``state`` stands for what the lifespan yields. The deadline lies 15 minutes ahead.
    """
    fields: dict[str, Any] = {"job_id": job_id, "task": task, "queue": queue, "attempt": attempt}
    made = Context(
        **fields,
        execution=attempt if execution is None else execution,
        deadline=datetime.now(UTC) + timedelta(minutes=15),
        state=state,
        headers=dict(headers or {}),
        log=JobLog(**fields),
    )
    token = current_context.set(Running(lambda: made))
    try:
        yield made
    finally:
        current_context.reset(token)
