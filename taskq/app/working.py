"""From an open app to the pipeline of a worker."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from taskq.app.connection import Connection
from taskq.errors import UsageError
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
    """Put the worker's side together.

    Raises :class:`UsageError` for queues that no task of the app uses, and for time limits that the broker cuts short.
    """
    registry, settings = connection.registry, connection.settings
    tasks = registry.own()
    timeouts_s = {name: registry.timeout_of(task) for name, task in tasks.items()}
    _check_timeouts(timeouts_s, connection.broker.ack_timeout_s)
    return Pipeline(
        broker=connection.broker,
        clock=connection.clock,
        catalogue=Catalogue(
            tasks=tasks,
            timeouts_s=timeouts_s,
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


def _check_timeouts(timeouts_s: Mapping[str, float], ack_timeout_s: float | None) -> None:
    """Refuse a task that may run for longer than the broker leaves it to a worker: it would run a second time."""
    for name, timeout_s in timeouts_s.items():
        if ack_timeout_s is not None and timeout_s >= ack_timeout_s:
            raise UsageError(
                f"task {name!r} may run for {timeout_s:g} s, but RabbitMQ takes a job back that is not settled within "
                f"{ack_timeout_s:g} s; give it a shorter timeout, or raise consumer_timeout in rabbitmq.conf and "
                "TASKQ_ACK_TIMEOUT with it"
            )
