"""An event on the wire: what is published to an exchange, and what a subscriber reads of it.

The body is the JSON of the payload, nothing around it, and there is no ``type``: plain AMQP programs read it as it is,
and where it meets a task's queue, that queue's default task runs it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from taskq.tasks.event import Event
from taskq.wire import headers as h
from taskq.wire.ids import new_job_id, new_message_id
from taskq.wire.job import JobMessage, millis
from taskq.wire.message import Message


def new_event(body: bytes, *, now: float, app_id: str, headers: h.Headers | None) -> Message:
    """Return the message of an event that is published ``now`` (seconds since the epoch)."""
    fields = {**(headers or {}), h.VERSION: h.WIRE_VERSION, h.ENQUEUED_AT: millis(now)}
    return Message(
        body=body,
        message_id=new_message_id(),
        correlation_id=new_job_id(),
        timestamp=int(now),
        app_id=app_id,
        headers=fields,
    )


def is_foreign(message: Message) -> bool:
    """Whether a program without taskq published it; a retry's copy still tells."""
    return h.ENQUEUED_AT not in message.headers


def read_event(job: JobMessage, payload: Any) -> Event[Any]:
    """Return the event of a message that was read as a job is, and its body as ``payload``."""
    headers = job.message.headers
    return Event(
        payload=payload,
        exchange=h.text(headers, h.EXCHANGE) or "",
        key=h.text(headers, h.KEY) or "",
        headers=h.users(headers),
        id=job.job_id,
        time=_instant(job.message.timestamp if job.enqueued_at is None else job.enqueued_at),
    )


def _instant(seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # milliseconds by mistake, say
        return None
