"""A dead letter: the job's message as it was, with a record of why and when it died in its headers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from taskq.errors import UndecodableMessage
from taskq.wire import headers as h
from taskq.wire.failure import Failure
from taskq.wire.ids import new_message_id
from taskq.wire.job import ERROR_BYTES, job_id_of, millis
from taskq.wire.message import Message


class DeadReason(StrEnum):
    """Why a job will not be tried again."""

    FAILED = "failed"
    TIMED_OUT = "timed-out"
    REJECTED = "rejected"
    UNDECODABLE = "undecodable"
    UNKNOWN_TASK = "unknown-task"
    INVALID_ARGUMENTS = "invalid-arguments"
    INVALID_RESULT = "invalid-result"
    DELIVERY_LIMIT = "delivery-limit"


_LEAST_ERROR = 400  # bytes that an error's message and traceback have in a dead letter, whatever else is in it
_SMALL = (h.VERSION, h.ENQUEUED_AT, h.DEADLINE)
_RECORD = (h.DEAD_REASON, h.DEAD_AT, h.ERROR_TYPE, h.ERROR_MESSAGE, h.ERROR_TRACEBACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A dead letter, read. Times are seconds since the epoch.

    ``reason`` is ``delivery-limit`` for those that the broker itself moved, whose record is empty.
    """

    message: Message
    job_id: str
    task: str | None
    queue: str
    reason: str
    failure: Failure
    attempt: int
    execution: int
    enqueued_at: float | None
    died_at: float | None


def new_dead_letter(
    message: Message,
    *,
    job_id: str,
    queue: str,
    reason: DeadReason,
    failure: Failure,
    attempt: int,
    execution: int,
    now: float,
) -> Message:
    """Return the dead letter that replaces ``message``: the same, with the record of its death.

    Where the caller's headers are large, the error is cut further; only those of a foreign program can be so large that
    they give way to it.
    """
    headers = _without_record(message)
    headers.pop(h.ETA, None)
    failure = failure.fitted()
    record: dict[str, object] = {
        h.QUEUE: queue,
        h.ATTEMPT: attempt,
        h.EXECUTION: execution,
        h.JOB_ID: job_id,
        h.DEAD_REASON: str(reason),
        h.DEAD_AT: millis(now),
        h.ERROR_TYPE: failure.type,
        h.ERROR_MESSAGE: "",
        h.ERROR_TRACEBACK: "",
    }
    if h.size_of(headers | record) + _LEAST_ERROR > h.LARGEST_HEADERS:
        headers = {k: v for k, v in headers.items() if k in _SMALL and isinstance(v, int)}
    for name, text in ((h.ERROR_MESSAGE, failure.message), (h.ERROR_TRACEBACK, failure.traceback)):
        record[name] = h.cut(text, h.LARGEST_HEADERS - h.size_of(headers | record))
    return replace(message, message_id=new_message_id(), headers=headers | record)


def read_dead_letter(message: Message, origin: str) -> DeadLetter:
    """Read a message of the dead-letter queue of ``origin``. It never raises: all can be shown."""
    headers = message.headers
    return DeadLetter(
        message=message,
        job_id=job_id_of(message),
        task=message.type or None,
        queue=h.text(headers, h.QUEUE) or origin,
        reason=h.text(headers, h.DEAD_REASON) or DeadReason.DELIVERY_LIMIT,
        failure=Failure(
            h.text(headers, h.ERROR_TYPE) or "",
            h.text(headers, h.ERROR_MESSAGE) or "",
            h.text(headers, h.ERROR_TRACEBACK) or "",
        ),
        attempt=_number(headers, h.ATTEMPT),
        execution=_number(headers, h.EXECUTION),
        enqueued_at=_instant(headers, h.ENQUEUED_AT),
        died_at=_instant(headers, h.DEAD_AT),
    )


def revived(letter: DeadLetter) -> Message:
    """Return the message that puts a dead letter back: attempt 1 again, no expiry, the last error kept."""
    headers = h.for_copy(_without_record(letter.message))
    headers.pop(h.DEADLINE, None)
    headers.pop(h.ETA, None)
    headers |= {h.ATTEMPT: 1, h.EXECUTION: letter.execution + 1, h.JOB_ID: letter.job_id}
    if letter.failure.type:
        headers[h.ERROR] = h.cut(letter.failure.short, ERROR_BYTES)
    return replace(letter.message, message_id=new_message_id(), headers=headers)


def _without_record(message: Message) -> dict[str, object]:
    return {k: v for k, v in h.for_copy(message.headers).items() if k not in _RECORD}


def _number(headers: h.Headers, name: str) -> int:
    try:
        return h.whole_number(headers, name, 1)
    except UndecodableMessage:
        return 1


def _instant(headers: h.Headers, name: str) -> float | None:
    try:
        return h.instant(headers, name)
    except UndecodableMessage:
        return None
