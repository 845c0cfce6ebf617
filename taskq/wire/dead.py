"""A dead letter: the job's message as it was, with a record of why and when it died in its headers.

RabbitMQ moves messages by itself too, when they came back too often, say. Those have no record of ours; what it says
of them itself, in ``x-death``, stands for it: https://www.rabbitmq.com/docs/dlx#effects
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

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
_LONGEST_SHORT = 255  # bytes of a short text of AMQP
_TEXTS = ("type", "correlation_id", "reply_to", "content_type", "content_encoding", "app_id")
_RECORD = (h.DEAD_REASON, h.DEAD_AT, h.ERROR_TYPE, h.ERROR_MESSAGE, h.ERROR_TRACEBACK)

_DEATHS = "x-death"
_BROKERS_REASONS: Mapping[str, str] = {
    "delivery_limit": DeadReason.DELIVERY_LIMIT,
    "expired": "expired in its queue",
    "maxlen": "its queue was full",
    "rejected": "rejected by a consumer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A dead letter, read. Times are seconds since the epoch.

    ``reason`` is a :class:`DeadReason`, or what a broker says of a message that it moved by itself. Such a letter has
    no failure; its ``reason`` is ``delivery-limit`` where the broker says nothing.
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
        headers = h.ours(headers)
    for name, text in ((h.ERROR_MESSAGE, failure.message), (h.ERROR_TRACEBACK, failure.traceback)):
        record[name] = h.cut(text, h.LARGEST_HEADERS - h.size_of(headers | record))
    return message._replace(message_id=new_message_id(), headers=headers | record)


def remnant(message: Message, body: int) -> Message:
    """Return what can be kept of a message that a broker refuses: ``body`` bytes of its body, and what is short."""
    properties: dict[str, Any] = {name: _short(getattr(message, name)) for name in _TEXTS}
    return message._replace(body=message.body[:body], headers=h.ours(message.headers), **properties)


def read_dead_letter(message: Message, origin: str) -> DeadLetter:
    """Read a message of the dead-letter queue of ``origin``. It never raises: all can be shown."""
    headers = message.headers
    recorded = h.text(headers, h.DEAD_REASON)
    death: h.Headers = {} if recorded else _death(headers, origin)
    return DeadLetter(
        message=message,
        job_id=job_id_of(message),
        task=message.type or None,
        queue=h.text(death, "queue") or h.text(headers, h.QUEUE) or origin,
        reason=recorded or _brokers_reason(death),
        failure=Failure(
            h.text(headers, h.ERROR_TYPE) or "",
            h.text(headers, h.ERROR_MESSAGE) or "",
            h.text(headers, h.ERROR_TRACEBACK) or "",
        ),
        attempt=_number(headers, h.ATTEMPT),
        execution=_number(headers, h.EXECUTION),
        enqueued_at=_instant(headers, h.ENQUEUED_AT),
        died_at=_instant(headers, h.DEAD_AT) if recorded else _time_of(death),
    )


def revived(letter: DeadLetter) -> Message:
    """Return the message that puts a dead letter back: attempt 1 again, no expiry, the last error kept."""
    headers = h.for_copy(_without_record(letter.message))
    headers.pop(h.DEADLINE, None)
    headers.pop(h.ETA, None)
    headers |= {h.ATTEMPT: 1, h.EXECUTION: letter.execution + 1, h.JOB_ID: letter.job_id}
    if letter.failure.type:
        headers[h.ERROR] = h.cut(letter.failure.short, ERROR_BYTES)
    return letter.message._replace(message_id=new_message_id(), headers=headers)


def _without_record(message: Message) -> dict[str, object]:
    return {k: v for k, v in h.for_copy(message.headers).items() if k not in _RECORD}


def _short(text: str | None) -> str | None:
    return text if text is not None and len(text.encode(errors="replace")) <= _LONGEST_SHORT else None


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


def _death(headers: h.Headers, origin: str) -> h.Headers:
    """Return what the broker says of the message's last death in ``origin``, else of its last one, else nothing.

    There may be others before it: a delay is a death by expiry in each queue that it waited in.
    """
    said = headers.get(_DEATHS)
    entries = cast("list[object]", said) if isinstance(said, list) else []
    deaths = [cast("h.Headers", entry) for entry in entries if isinstance(entry, Mapping)]
    here = [death for death in deaths if h.text(death, "queue") == origin]
    return next(iter(here + deaths), cast("h.Headers", {}))


def _brokers_reason(death: h.Headers) -> str:
    reason = h.text(death, "reason")
    return _BROKERS_REASONS.get(reason, reason) if reason else DeadReason.DELIVERY_LIMIT


def _time_of(death: h.Headers) -> float | None:
    """Return when it was, as it says itself; RabbitMQ counts in whole seconds."""
    when = death.get("time")
    try:
        if isinstance(when, datetime):
            return when.timestamp()
        if isinstance(when, int) and not isinstance(when, bool):
            return datetime.fromtimestamp(when, UTC).timestamp()
    except (ValueError, OverflowError, OSError):  # no time that can be shown
        pass
    return None
