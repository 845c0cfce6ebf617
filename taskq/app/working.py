"""From an open app to the pipeline of a worker."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from taskq.app.connection import Connection
from taskq.lifecycle import Emitter
from taskq.worker.execute import Middleware
from taskq.worker.pipeline import Pipeline
from taskq.worker.prepare import Catalogue
from taskq.worker.processes import Processes
from taskq.worker.slots import resolve_slots


def build_pipeline(
    connection: Connection,
    emitter: Emitter,
    middleware: tuple[Middleware, ...],
    *,
    queues: Mapping[str, int | None] | None,
    concurrency: int | None,
) -> Pipeline:
    """Put the worker's side together. Raises :class:`UsageError` for queues that no task of the app uses."""
    registry, settings = connection.registry, connection.settings
    tasks = registry.own()
    return Pipeline(
        broker=connection.broker,
        clock=connection.clock,
        catalogue=Catalogue(
            tasks=tasks,
            timeouts_s={name: registry.timeout_of(task) for name, task in tasks.items()},
            policies={name: registry.retry_of(task) for name, task in tasks.items()},
            queues=registry.own_queues(),
        ),
        slots=resolve_slots(registry.own_queues(), queues, concurrency, settings.concurrency),
        middleware=middleware,
        emitter=emitter,
        max_result_bytes=settings.max_message_bytes,
        processes=Processes(),
        rng=Random(),
    )
