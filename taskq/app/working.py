"""From an open app to the pipeline of a worker."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING

from taskq.app.connection import Connection
from taskq.broker.names import new_subscription_queue
from taskq.errors import UsageError
from taskq.lifecycle import Emitter
from taskq.tasks.definition import Handler
from taskq.tasks.registry import Registry
from taskq.tasks.subscription import Subscription
from taskq.worker.execute import Middleware
from taskq.worker.pipeline import Pipeline
from taskq.worker.prepare import Catalogue
from taskq.worker.slots import resolve_slots

if TYPE_CHECKING:
    from taskq.worker.processes import Processes


def build_pipeline(
    connection: Connection,
    emitter: Emitter,
    middleware: tuple[Middleware, ...],
    *,
    queues: Mapping[str, int | None] | None,
    concurrency: int | None,
    burst: bool,
) -> Pipeline:
    """Put the worker's side together. A burst, which ends when its queues are empty, has no temporary subscriptions.

    Raises :class:`UsageError` for queues that no task of the app uses, and for time limits that the broker cuts short.
    """
    registry = connection.registry
    own = {name: queue.concurrency for name, queue in registry.own_queues().items()}
    temporary = registry.temporary()
    if burst:
        _check_burst(own, temporary, queues)
        temporary = {}
    own |= {name: each.concurrency for name, each in temporary.items()}
    slots = resolve_slots(own, queues, concurrency, connection.settings.concurrency)
    named = {new_subscription_queue(): temporary[name] for name in slots if name in temporary}
    catalogue = _catalogue(registry, named)
    _check_timeouts(catalogue.timeouts_s, connection.broker.ack_timeout_s)
    return Pipeline(
        broker=connection.broker,
        clock=connection.clock,
        catalogue=catalogue,
        slots={name: n for name, n in slots.items() if name not in temporary}
        | {name: slots[each.name] for name, each in named.items()},
        middleware=middleware,
        emitter=emitter,
        max_result_bytes=connection.settings.max_message_bytes,
        processes=_processes(catalogue),
        rng=Random(),
    )


def _processes(catalogue: Catalogue) -> Processes | None:
    """Return what runs tasks in processes of their own, where there is such a task."""
    if all(task.run != "process" for task in catalogue.tasks.values()):
        return None
    from taskq.worker.processes import Processes  # noqa: PLC0415  # most workers need no process

    return Processes()


def _catalogue(registry: Registry, temporary: Mapping[str, Subscription]) -> Catalogue:
    """``temporary``: the temporary subscriptions of this worker by the names of their queues."""
    handlers: dict[str, Handler] = {**registry.own(), **registry.subscriptions}
    return Catalogue(
        tasks=registry.own(),
        timeouts_s={name: registry.timeout_of(each) for name, each in handlers.items()},
        policies={name: registry.retry_of(each) for name, each in handlers.items()},
        queues=registry.own_queues(),
        subscriptions=registry.subscribed() | dict(temporary),
        temporary={name: each.temporary_queue(name) for name, each in temporary.items()},
        exchanges=tuple(exchange.definition for exchange in registry.exchanges.values()),
        bindings=registry.bindings(),
    )


def _check_burst(
    own: Mapping[str, int | None], temporary: Mapping[str, Subscription], queues: Mapping[str, int | None] | None
) -> None:
    """Refuse a burst that is asked for a temporary subscription, or for nothing else."""
    asked = [name for name in temporary if (not own if queues is None else name in queues)]
    if asked:
        raise UsageError(
            "a burst ends when its queues are empty, and a temporary subscription never is at its end "
            f"({', '.join(asked)}); run it without a burst, or give it a queue"
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
