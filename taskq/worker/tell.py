"""From a verdict that was carried out to the event that tells of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, assert_never

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What every event of an ended execution says; see :class:`taskq.lifecycle.ExecutionEnded`."""

    job_id: str
    task: str | None
    queue: str
    attempt: int
    execution: int
    duration_s: float

    def fields(self) -> dict[str, Any]:
        """Return them by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


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
    known = ended.fields()
    match verdict:
        case Complete():
            return JobSucceeded(**known, replied=replied)
        case TryAgain(wait_s=wait_s, attempts=attempts, error=error):
            return JobRetried(**known, attempts=attempts, wait_s=wait_s, error=error)
        case PutOff(wait_s=wait_s):
            return JobSnoozed(**known, wait_s=wait_s)
        case HandBack():
            return JobHandedBack(**known)
        case Bury(reason, failure):
            return JobDead(**known, reason=reason, error=failure.short, traceback=failure.traceback)
        case LetExpire():
            return JobExpired(**known)
        case Drop(reason, failure):
            return EventDropped(**known, reason=reason, error=failure.short, traceback=failure.traceback)
        case _:
            assert_never(verdict)
