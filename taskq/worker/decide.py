"""From an outcome to a verdict. Pure: time and chance come in as arguments."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import assert_never

from taskq.tasks.retry import RetryPolicy, wait_s
from taskq.wire.dead import DeadReason
from taskq.wire.failure import Failure, describe
from taskq.wire.job import JobMessage
from taskq.worker.outcome import (
    Interrupted,
    Outcome,
    Overdue,
    Raised,
    Rejected,
    RetryAsked,
    Returned,
    SnoozeAsked,
    TimedOut,
    Unusable,
)
from taskq.worker.verdict import NO_REPLY, Bury, Complete, Drop, HandBack, LetExpire, PutOff, TryAgain, Verdict


def decide(  # noqa: PLR0912  # one case for each outcome, and no more
    outcome: Outcome, job: JobMessage | None, policy: RetryPolicy, *, now: float, rng: Random
) -> Verdict:
    """Return what becomes of the delivery.

    ``job`` is ``None`` only for an :class:`Unusable` outcome of a message that could not be read. ``now`` is in
    seconds since the epoch.
    """
    if job is None:
        assert isinstance(outcome, Unusable), f"{outcome!r} of a message that could not be read"
        return Bury(outcome.reason, outcome.failure)
    match outcome:
        case Returned(body):
            return NO_REPLY if body is None else Complete(body)
        case Unusable(reason, failure):
            return Bury(reason, failure)
        case Rejected(reason):
            return Bury(DeadReason.REJECTED, Failure("taskq.Reject", reason).fitted())
        case Overdue():
            return LetExpire()
        case Interrupted():
            return HandBack()
        case SnoozeAsked(delay_s):
            late = job.deadline is not None and now + delay_s >= job.deadline
            return LetExpire() if late else PutOff(now + delay_s, delay_s)
        case RetryAsked(reason, after_s):
            failure = Failure("taskq.Retry", reason).fitted()
            return _try_again(failure, job, policy, now=now, rng=rng, after_s=after_s)
        case TimedOut(after_s):
            failure = Failure("TimeoutError", f"the attempt was cut after its time limit of {after_s:g} s")
            if not policy.retries(TimeoutError()):
                return Bury(DeadReason.TIMED_OUT, failure)
            return _try_again(failure, job, policy, now=now, rng=rng, reason=DeadReason.TIMED_OUT)
        case Raised(error):
            failure = describe(error)
            if not policy.retries(error):
                return Bury(DeadReason.FAILED, failure)
            return _try_again(failure, job, policy, now=now, rng=rng)
        case _:
            assert_never(outcome)


def decide_temporary(outcome: Outcome, verdict: Verdict) -> Verdict:
    """Return what becomes of the delivery of a temporary subscription instead: its queue can keep nothing for later."""
    if isinstance(outcome, RetryAsked):
        return Drop(DeadReason.FAILED, Failure("taskq.Retry", outcome.reason).fitted())
    match verdict:
        case Complete() | Drop():
            return NO_REPLY
        case Bury(reason, failure):
            return Drop(reason, failure)
        case TryAgain(error=error):
            return Drop(DeadReason.FAILED, Failure("taskq.Retry", error))
        case PutOff():
            return Drop("snoozed", Failure("taskq.Snooze", "only a subscription with a queue can put an event off"))
        case HandBack():
            return Drop("interrupted", Failure("taskq.Interrupted", "the worker stopped while it ran"))
        case LetExpire():
            return Drop("expired", Failure("taskq.Expired", "it had expired"))
        case _:
            assert_never(verdict)


def _try_again(
    failure: Failure,
    job: JobMessage,
    policy: RetryPolicy,
    *,
    now: float,
    rng: Random,
    after_s: float | None = None,
    reason: DeadReason = DeadReason.FAILED,
) -> Verdict:
    if job.attempt >= policy.attempts:
        return Bury(reason, _exhausted(failure, policy))
    wait = wait_s(policy.backoff, job.attempt, rng) if after_s is None else after_s
    if job.deadline is not None and now + wait >= job.deadline:
        note = f"{failure.message} (attempt {job.attempt + 1} would start after the job's expiry)"
        return Bury(reason, replace(failure, message=note).fitted())
    return TryAgain(now + wait, wait, job.attempt + 1, policy.attempts, failure.short)


def _exhausted(failure: Failure, policy: RetryPolicy) -> Failure:
    """Say why a Retry was not followed; for other errors the error says enough."""
    if failure.type != "taskq.Retry" or policy.attempts > 1:
        return failure
    note = f"{failure.message} (the task asked for a retry, but its policy has 1 attempt: give it a RetryPolicy)"
    return replace(failure, message=note)
