"""From a verdict that was carried out to the event that tells of it. Pure."""

from __future__ import annotations

from typing import TypedDict, assert_never

from taskq.lifecycle import (
    EventDropped,
    ExecutionEnded,
    JobDead,
    JobExpired,
    JobHandedBack,
    JobRetried,
    JobSnoozed,
    JobSucceeded,
)
from taskq.worker.verdict import Bury, Complete, Drop, HandBack, LetExpire, PutOff, TryAgain, Verdict


class Ended(TypedDict):
    """What every event of an ended execution says; see :class:`taskq.lifecycle.ExecutionEnded`."""

    job_id: str
    task: str | None
    queue: str
    attempt: int
    execution: int
    duration_s: float


_EVENTS: dict[type[Verdict], type[ExecutionEnded]] = {
    Complete: JobSucceeded,
    TryAgain: JobRetried,
    PutOff: JobSnoozed,
    HandBack: JobHandedBack,
    Bury: JobDead,
    LetExpire: JobExpired,
    Drop: EventDropped,
}


def event_of(verdict: Verdict) -> type[ExecutionEnded]:
    """Return the kind of event that :func:`ended_event` makes."""
    return _EVENTS[type(verdict)]


def ended_event(verdict: Verdict, ended: Ended, *, replied: bool) -> ExecutionEnded:
    """Return the event that tells what became of an execution."""
    match verdict:
        case Complete():
            return JobSucceeded(**ended, replied=replied)
        case TryAgain(wait_s=wait_s, attempts=attempts, error=error):
            return JobRetried(**ended, attempts=attempts, wait_s=wait_s, error=error)
        case PutOff(wait_s=wait_s):
            return JobSnoozed(**ended, wait_s=wait_s)
        case HandBack():
            return JobHandedBack(**ended)
        case Bury(reason, failure):
            return JobDead(**ended, reason=reason, error=failure.short, traceback=failure.traceback)
        case LetExpire():
            return JobExpired(**ended)
        case Drop(reason, failure):
            return EventDropped(**ended, reason=reason, error=failure.short, traceback=failure.traceback)
        case _:
            assert_never(verdict)
