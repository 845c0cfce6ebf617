"""Jobs, deliveries and what a worker knows, made by hand for tests of single parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from taskq.broker.protocol import Outgoing, Settlement
from taskq.tasks.arguments import Arguments
from taskq.tasks.queues import Queue
from taskq.tasks.retry import NO_RETRY, RetryPolicy
from taskq.tasks.task import AnyTask
from taskq.wire import headers as h
from taskq.wire.job import JobMessage, new_job, read_job
from taskq.wire.message import Message
from taskq.worker.prepare import Catalogue, Prepared

NOW = 1_700_000_000.0
JOB_ID = "0190f5fe-7c00-7a00-8abc-012345678901"
REPLY_TO = "taskq.reply.test"


def message(
    task: str = "work",
    body: bytes = b"{}",
    *,
    attempt: int = 1,
    execution: int = 1,
    deadline: float | None = None,
    reply_to: str | None = REPLY_TO,
    priority: int | None = None,
) -> Message:
    """Return a job's message on queue ``default``."""
    made = new_job(
        task=task,
        job_id=JOB_ID,
        queue="default",
        body=body,
        now=NOW,
        reply_to=reply_to,
        deadline=deadline,
        priority=priority,
        headers={"tenant": "acme"},
    )
    headers = {**made.headers, h.ATTEMPT: attempt, h.EXECUTION: execution}
    return Message(
        body=made.body,
        message_id=made.message_id,
        type=made.type,
        correlation_id=made.correlation_id,
        reply_to=made.reply_to,
        priority=made.priority,
        headers=headers,
    )


def job(attempt: int = 1, *, deadline: float | None = None, task: str = "work", body: bytes = b"{}") -> JobMessage:
    """Return a job, read from queue ``default``."""
    return read_job(message(task, body, attempt=attempt, deadline=deadline), "default")


@dataclass
class FakeDelivery:
    """A delivery that notes how it was settled. ``troubles`` are raised by the first settles."""

    message: Message
    queue: str = "default"
    redeliveries: int = 0
    settlement: Settlement = Settlement.DONE
    troubles: list[Exception] = field(default_factory=list[Exception])
    settled: list[tuple[Sequence[Outgoing], bool]] = field(default_factory=list[tuple[Sequence[Outgoing], bool]])
    released: int = 0

    async def settle(self, replacements: Sequence[Outgoing] = (), *, keep_slot: bool = False) -> Settlement:
        if self.troubles:
            raise self.troubles.pop(0)
        self.settled.append((replacements, keep_slot))
        return self.settlement

    def release_slot(self) -> None:
        self.released += 1


def catalogue(*tasks: AnyTask, queue: Queue | None = None, retry: RetryPolicy = NO_RETRY) -> Catalogue:
    """Return what a worker of these tasks knows, with 60 s for each attempt where the task says nothing."""
    known = queue or Queue("default")
    return Catalogue(
        tasks={task.name: task.definition for task in tasks},
        timeouts_s={task.name: task.definition.timeout_s or 60.0 for task in tasks},
        policies={task.name: task.definition.retry or retry for task in tasks},
        queues={known.name: known},
    )


def prepared(task: AnyTask, *args: object, timeout_s: float = 60.0, reply_to: str | None = REPLY_TO) -> Prepared:
    """Return a job of ``task`` that can be run."""
    return Prepared(
        job=read_job(message(task.name, reply_to=reply_to), "default"),
        definition=task.definition,
        arguments=Arguments(args, {}),
        timeout_s=timeout_s,
    )
