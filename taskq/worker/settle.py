"""From a verdict to the messages that replace the delivery.

The order (replacements, their confirmation, then the acknowledgement) is the broker's, in one call; see
:mod:`taskq.broker.protocol`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from taskq.broker.names import dead_queue
from taskq.broker.protocol import Delivery, Outgoing
from taskq.wire.dead import new_dead_letter, remnant
from taskq.wire.job import JobMessage, job_id_of
from taskq.wire.reply import Expired, Failed, Reply, Returned, new_reply
from taskq.worker.verdict import NO_REPLY, Bury, Complete, Drop, HandBack, LetExpire, PutOff, TryAgain, Verdict


def replacements(
    verdict: Verdict, delivery: Delivery, job: JobMessage | None, *, job_id: str, now: float
) -> Sequence[Outgoing]:
    """Return the messages that replace a delivery. ``job`` is ``None`` for a message that could not be read."""
    if verdict is NO_REPLY or isinstance(verdict, Drop):
        return ()
    queue = delivery.queue
    execution = (job.execution if job else 1) + delivery.redeliveries
    if isinstance(verdict, Bury):
        return _buried(verdict, delivery, job, job_id=job_id, execution=execution, now=now)
    assert job is not None, "a message that could not be read is only ever buried"
    match verdict:
        case Complete(result):
            return () if result is None else _reply(delivery, Returned(result))
        case LetExpire():
            return _reply(delivery, Expired())
        case TryAgain(at=at, attempt=attempt, error=error):
            copy = job.copy(attempt=attempt, execution=execution + 1, eta=at, error=error)
            return [Outgoing(copy, queue, not_before=at if at > now else None)]
        case PutOff(at=at):
            copy = job.copy(attempt=job.attempt, execution=execution + 1, eta=at)
            return [Outgoing(copy, queue, not_before=at if at > now else None)]
        case HandBack():
            return [Outgoing(job.copy(attempt=job.attempt, execution=execution + 1), queue)]
        case _:
            assert_never(verdict)


def identify(delivery: Delivery, job: JobMessage | None) -> str:
    """Return the job id to use for a delivery, readable or not."""
    return job_id_of(delivery.message) if job is None else job.job_id


def _buried(
    verdict: Bury, delivery: Delivery, job: JobMessage | None, *, job_id: str, execution: int, now: float
) -> Sequence[Outgoing]:
    message, failure, cut = delivery.message, verdict.failure, verdict.cut
    if cut is not None:
        message, failure = remnant(message, cut.body), failure.shortened()
    letter = new_dead_letter(
        message,
        job_id=job_id,
        queue=delivery.queue,
        reason=verdict.reason,
        failure=failure,
        attempt=job.attempt if job else 1,
        execution=execution,
        now=now,
    )
    told = cut is None or cut.reply
    replies = _reply(delivery, Failed(verdict.reason, failure)) if told else []
    return [*replies, Outgoing(letter, dead_queue(delivery.queue))]


def _reply(delivery: Delivery, reply: Reply) -> list[Outgoing]:
    message = delivery.message
    if not message.reply_to:
        return []
    return [Outgoing(new_reply(reply, message.correlation_id), message.reply_to, mandatory=False)]
