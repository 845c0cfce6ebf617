"""From a delivery to something that can be run, or to the outcome that says why not. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from taskq.broker.protocol import Delivery
from taskq.errors import InvalidArguments, UndecodableMessage, UnknownTask
from taskq.tasks.arguments import Arguments
from taskq.tasks.definition import Handler, TaskDefinition
from taskq.tasks.exchanges import Binding, ExchangeDefinition, TemporaryQueue
from taskq.tasks.queues import Queue
from taskq.tasks.retry import NO_RETRY, RetryPolicy
from taskq.tasks.subscription import Subscription
from taskq.wire.dead import DeadReason
from taskq.wire.event import is_foreign, read_event
from taskq.wire.failure import Failure
from taskq.wire.job import JobMessage, read_job
from taskq.worker.outcome import Outcome, Overdue, Unusable


class Prepared(NamedTuple):
    """A job or an event that can be run: by what, with which arguments in their declared types, and for how long."""

    job: JobMessage
    definition: Handler
    arguments: Arguments
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What a worker knows: its tasks and its queues by name.

    ``timeouts_s`` and ``policies``: of tasks and subscriptions, by name. ``subscriptions``: by queue, durable and
    temporary. ``temporary``: the queues that exist only with this worker. ``exchanges`` and ``bindings``: as declared.
    """

    tasks: dict[str, TaskDefinition]
    timeouts_s: dict[str, float]
    policies: dict[str, RetryPolicy]
    queues: dict[str, Queue]
    subscriptions: dict[str, Subscription] = field(default_factory=dict[str, Subscription])
    temporary: dict[str, TemporaryQueue] = field(default_factory=dict[str, TemporaryQueue])
    exchanges: tuple[ExchangeDefinition, ...] = ()
    bindings: tuple[Binding, ...] = ()

    def policy_of(self, job: JobMessage | None) -> RetryPolicy:
        """Return the retry policy of a job's task; one attempt where it is not known."""
        return NO_RETRY if job is None else self.policies.get(self.task_of(job) or "", NO_RETRY)

    def task_of(self, job: JobMessage) -> str | None:
        """Return the name of what runs a job: its task, its queue's default for a foreign message, a subscription."""
        return self.task_at(job.queue, job.task)

    def task_at(self, queue: str, task: str | None) -> str | None:
        """Return the name of what runs a message of ``queue`` that names ``task``, also of one that cannot be read."""
        subscription = self.subscriptions.get(queue)
        if subscription is not None:
            return subscription.name
        return task or self.queues[queue].default_task


def read(delivery: Delivery) -> JobMessage | Unusable:
    """Read a delivery's message."""
    try:
        return read_job(delivery.message, delivery.queue)
    except UndecodableMessage as error:
        return _unusable(DeadReason.UNDECODABLE, error)


def prepare(job: JobMessage, delivery: Delivery, catalogue: Catalogue, *, now: float) -> Prepared | Outcome:
    """Check everything that can be checked before a job is run.

    A message that came back ``delivery_limit`` times is not run once more: here it still gets a full record and its
    caller an answer, which the broker, one redelivery later, could not give.
    """
    queue = catalogue.queues.get(delivery.queue)
    if queue is not None and delivery.redeliveries >= queue.delivery_limit:
        return Unusable(DeadReason.DELIVERY_LIMIT, _worn_out(delivery.redeliveries))
    if job.is_expired(now):
        return Overdue()
    subscription = catalogue.subscriptions.get(delivery.queue)
    if subscription is not None:
        return _prepare_event(job, subscription, catalogue)
    name = catalogue.task_of(job)
    definition = catalogue.tasks.get(name or "")
    if definition is None:
        return Unusable(DeadReason.UNKNOWN_TASK, _unknown(name, delivery.queue, catalogue))
    signature = definition.signature
    try:
        decode = signature.decode_foreign if job.foreign else signature.decode
        arguments = decode(job.message.body)
    except InvalidArguments as error:
        return _unusable(DeadReason.INVALID_ARGUMENTS, error)
    except UndecodableMessage as error:
        return _unusable(DeadReason.UNDECODABLE, error)
    timeout_s = catalogue.timeouts_s[definition.name]
    return Prepared(job=job, definition=definition, arguments=arguments, timeout_s=timeout_s)


def _prepare_event(job: JobMessage, subscription: Subscription, catalogue: Catalogue) -> Prepared | Outcome:
    message = job.message
    try:
        payload = subscription.payload.read(message.body, foreign=is_foreign(message))
        event = read_event(job, payload)
    except InvalidArguments as error:
        return _unusable(DeadReason.INVALID_ARGUMENTS, error)
    except UndecodableMessage as error:
        return _unusable(DeadReason.UNDECODABLE, error)
    arguments = Arguments((payload, event) if subscription.takes_event else (payload,), {})
    return Prepared(job, subscription, arguments, catalogue.timeouts_s[subscription.name])


def _unknown(name: str | None, queue: str, catalogue: Catalogue) -> Failure:
    if name is None:
        text = f"it names no task, and queue {queue!r} has no default task"
    else:
        text = str(UnknownTask(name, sorted(catalogue.tasks)))
    return Failure("taskq.UnknownTask", text).fitted()


def _worn_out(redeliveries: int) -> Failure:
    text = f"its worker died, or lost it, {redeliveries} times while it ran; it may be what kills the worker"
    return Failure("taskq.DeliveryLimit", text)


def _unusable(reason: DeadReason, error: Exception) -> Unusable:
    return Unusable(reason, Failure(f"taskq.{type(error).__name__}", str(error)).fitted())
