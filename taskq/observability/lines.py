"""From a lifecycle event to a log line: its level, its words, and its fields. Pure.

Every line about a job says what happened, how long it took, and what happens next. Its text is safe to show as it is,
whatever writes it: one line, and indented below it a traceback or a stack. The fields are as they came.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from taskq import lifecycle as life
from taskq.observability.safetext import one_line, printable
from taskq.wire.failure import describe

# Of what happens to every job: so that a line that nobody reads need not be written.
USUAL_LEVELS: Mapping[type[life.Event], int] = {
    life.EventPublished: logging.DEBUG,
    life.JobEnqueued: logging.DEBUG,
    life.JobStarted: logging.DEBUG,
    life.JobSucceeded: logging.INFO,
}


class Line(NamedTuple):
    """A log line. ``fields`` go beside the text where lines are JSON."""

    level: int
    text: str
    fields: dict[str, Any]


def line_for(event: life.Event) -> Line:
    """Return the line of an event; one of a kind that is not worded here is shown as it is, at level DEBUG."""
    level, head = _worded(event)
    shown: dict[str, Any] = {"event": type(event).__name__}
    for name in _shown(type(event)):
        value = getattr(event, name)
        if value is not None:
            shown[name] = value
    if isinstance(event, life.HookFailed):
        shown["error"] = describe(event.error).short
    text, below = one_line(head), _below(event)
    return Line(level, f"{text}\n    {printable(below)}" if below else text, shown)


_SHOWN: dict[type[life.Event], tuple[str, ...]] = {}


def _shown(kind: type[life.Event]) -> tuple[str, ...]:
    """Return the names of the fields that go beside the text; what has many lines is in the text alone."""
    names = _SHOWN.get(kind)
    if names is None:
        names = _SHOWN[kind] = tuple(name for name in kind.field_names if name not in ("traceback", "stack"))
    return names


def _below(event: life.Event) -> str:
    """Return what stands below the line, in lines of its own."""
    match event:
        case life.JobDead() | life.EventDropped():
            return event.traceback.rstrip()
        case life.LoopBlocked():
            return event.stack.rstrip()
        case life.HookFailed():
            return describe(event.error).traceback.rstrip()
        case _:
            return ""


def _worded(event: life.Event) -> tuple[int, str]:
    match event:
        case life.JobEvent():
            level, what = _job(event)
            return level, f"{event.task or 'unknown task'} {what} [job {event.job_id}]"
        case life.EventPublished():
            return logging.DEBUG, f"published to {event.exchange} with the key {event.key!r} [event {event.event_id}]"
        case life.EventUnreadable():
            return logging.WARNING, (
                f"a listener of {event.exchange} left out an event with the key {event.key!r}: {event.error}"
            )
        case life.BindingLeft():
            return logging.WARNING, (
                f"queue {event.queue} is still bound to {event.exchange} with the key {event.key!r}, which the program "
                "no longer declares; remove it with `taskq bindings MODULE:APP --prune`"
            )
        case life.AppOpened():
            note = " (the default: set TASKQ_URL to choose)" if event.by_default else ""
            level = logging.WARNING if event.by_default and not event.interactive else logging.INFO
            return level, f"broker {event.label}{note}"
        case life.BrokerEvent():
            return _broker(event)
        case life.ReplyDropped():
            return (
                logging.INFO,
                f"a reply was dropped: {event.reason} [correlation id {event.correlation_id}]",
            )
        case life.HookFailed():
            return logging.ERROR, (
                f"the listener {event.listener} raised {describe(event.error).short}; what it listened to is not "
                "touched by that"
            )
        case _:
            return _worker(event)


def _worker(event: life.Event) -> tuple[int, str]:
    match event:
        case life.WorkerStarted():
            queues = ", ".join(f"{name} × {n}" for name, n in event.queues.items())
            return logging.INFO, f"worker {event.pid} of {event.app} consumes {queues}"
        case life.WorkerStopping():
            waits = f"waiting up to {event.grace_s:g} s for them" if event.running else "nothing to wait for"
            return (
                logging.INFO,
                f"worker stops ({event.reason}): takes no more jobs, {event.running} running; {waits}",
            )
        case life.WorkerStopped():
            left = f"; {event.threads} could not be ended and are left behind" if event.threads else ""
            return logging.INFO, f"worker stopped: {event.executed} executed, {event.dead} dead letters{left}"
        case life.LoopBlocked():
            return logging.WARNING, (
                f"the event loop is blocked for {event.seconds:.1f} s, so nothing else runs; make the task a def, or "
                "await what it does:"
            )
        case life.ChildExited():
            next_step = "not started again" if event.restart_in_s is None else f"next one in {event.restart_in_s:g} s"
            good = event.status == 0
            return (logging.INFO if good else logging.ERROR), (
                f"worker process {event.pid} ended with status {event.status}; {next_step}"
            )
        case _:
            return logging.DEBUG, repr(event)


def _broker(event: life.BrokerEvent) -> tuple[int, str]:
    match event:
        case life.BrokerConnected():
            if not event.again:
                return logging.DEBUG, f"connected to {event.label} to {event.role}"
            return logging.INFO, f"connected again to {event.label} to {event.role}"
        case life.BrokerLost():
            return logging.WARNING, (
                f"the connection to {event.role} to {event.label} was lost ({event.reason}); it is opened again"
            )
        case life.BrokerAlarmed():
            return logging.WARNING, (
                f"{event.label} takes no jobs at the moment ({event.reason}); enqueues wait until their deadline: free "
                "its disk or memory"
            )
        case life.BrokerAlarmEnded():
            return logging.INFO, f"{event.label} takes jobs again"
        case life.BrokerGone():
            return logging.ERROR, event.reason
        case life.ConsumerInterrupted():
            return (
                logging.WARNING,
                f"queue {event.queue} is not consumed now ({event.reason}); taskq tries again until it is",
            )
        case life.ConsumerResumed():
            return logging.INFO, f"queue {event.queue} is consumed again"
        case life.SubscriptionGap():
            return logging.WARNING, (
                f"{event.subscription} had no temporary queue for {_time(event.missing_s)}; what was published "
                "meanwhile is missed (a subscription with a queue misses nothing)"
            )
        case _:
            return logging.DEBUG, repr(event)


def _job(event: life.JobEvent) -> tuple[int, str]:
    match event:
        case life.JobEnqueued():
            return logging.DEBUG, f"enqueued on {event.queue}"
        case life.JobStarted():
            waited = "" if event.waited_s is None else f" after waiting {_time(event.waited_s)}"
            return logging.DEBUG, f"started{waited}, attempt {event.attempt}"
        case life.ExecutionEnded():
            return _ended(event)
        case life.SettleFailed():
            return logging.WARNING, f"ended, but cannot be settled ({event.error}); the worker tries again until it can"
        case life.ThreadOverran():
            return logging.WARNING, (
                f"passed its limit of {event.timeout_s:g} s, but a thread cannot be stopped: it keeps its slot until "
                "it ends (run='process' can be stopped)"
            )
        case life.JobIsolated():
            others = f", when {event.running} others have ended" if event.running else ""
            return logging.WARNING, (
                f"was in flight when {event.deaths} workers died: it runs alone{others}; until then, this worker takes "
                "no other job"
            )
        case life.IsolationEnded():
            return logging.WARNING, f"runs beside others though it was to run alone: {event.reason}"
        case life.JobGivenBack():
            return logging.DEBUG, f"goes back into {event.queue}: this worker takes no job now"
        case life.OwnQueueAwaited():
            return logging.WARNING, (
                f"is awaited by {event.by_task}, which holds the only slot of queue {event.queue} in this worker: "
                "they may wait for each other; raise its concurrency, or use another queue"
            )
        case _:
            return logging.DEBUG, repr(event)


def _ended(event: life.ExecutionEnded) -> tuple[int, str]:
    match event:
        case life.JobSucceeded():
            return logging.INFO, f"done in {_time(event.duration_s)}, attempt {event.attempt}"
        case life.JobRetried():
            return logging.WARNING, (
                f"failed attempt {event.attempt} of {event.attempts} after {_time(event.duration_s)}: {event.error}; "
                f"attempt {event.attempt + 1} in {_time(event.wait_s)}"
            )
        case life.JobDead():
            return logging.ERROR, (
                f"is dead ({event.reason}) after attempt {event.attempt}, {_time(event.duration_s)}: {event.error}; "
                f"kept in {event.queue}.dead"
            )
        case life.JobSnoozed():
            return logging.INFO, (
                f"snoozed after {_time(event.duration_s)}, attempt {event.attempt} again in {_time(event.wait_s)}"
            )
        case life.EventDropped():
            return logging.ERROR, (
                f"dropped an event ({event.reason}) after {_time(event.duration_s)}: {event.error}; a subscription "
                "with a queue would try again"
            )
        case life.JobExpired():
            return logging.WARNING, (
                f"expired before attempt {event.attempt} could start, after {_time(event.duration_s)}; it will not run"
            )
        case life.JobHandedBack():
            return logging.WARNING, (
                f"handed back after {_time(event.duration_s)} because the worker stops; another worker starts attempt "
                f"{event.attempt} again"
            )
        case life.DeliveryLost():
            return logging.WARNING, (
                f"ended after {_time(event.duration_s)}, but the broker had given the job to somebody else meanwhile; "
                "it runs again"
            )
        case _:
            return logging.DEBUG, repr(event)


def _time(seconds: float) -> str:
    if seconds < 0.001:
        return "<1 ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
