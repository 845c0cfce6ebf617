"""A job on the wire: what a job's message says, and the copies of it that replace a delivery.

Neighbours: :mod:`taskq.wire.reply` is the way back, :mod:`taskq.wire.dead` the end without a result.
"""

from __future__ import annotations

from typing import NamedTuple

from taskq.errors import UndecodableMessage
from taskq.tasks.options import is_job_id
from taskq.wire import headers as h
from taskq.wire.ids import derived_job_id, new_job_id, new_message_id
from taskq.wire.message import JSON, Message

ERROR_BYTES = 400  # of the last error, which every retry carries along


class JobMessage(NamedTuple):
    """A job's message, read.

    ``task`` is ``None`` for a foreign message (no ``type``). ``attempt`` and ``execution`` count from 1;
    redeliveries of this copy are not in them, the broker counts those. Times are seconds since the epoch.
    ``job_id`` is the ``correlation_id`` of our own messages; a foreign one keeps its own ``correlation_id``
    for the reply.
    """

    message: Message
    task: str | None
    job_id: str
    attempt: int
    execution: int
    queue: str
    enqueued_at: float | None
    deadline: float | None

    @property
    def foreign(self) -> bool:
        """Whether a program without taskq wrote it: it names no task."""
        return self.task is None

    def is_expired(self, now: float) -> bool:
        """Whether the job's time to start is over."""
        return self.deadline is not None and now >= self.deadline

    def copy(self, *, attempt: int, execution: int, eta: float | None = None, error: str | None = None) -> Message:
        """Return the message that replaces this one on its queue, under a new message id."""
        headers = h.for_copy(self.message.headers)
        headers.pop(h.ETA, None)
        headers |= {
            h.VERSION: h.WIRE_VERSION,
            h.ATTEMPT: attempt,
            h.EXECUTION: execution,
            h.QUEUE: self.queue,
        }
        if self.message.correlation_id != self.job_id:
            headers[h.JOB_ID] = self.job_id
        if eta is not None:
            headers[h.ETA] = millis(eta)
        if error is not None:
            headers[h.ERROR] = h.cut(error, ERROR_BYTES)
        return self.message._replace(message_id=new_message_id(), headers=headers)


def new_job(
    *,
    task: str,
    job_id: str,
    queue: str,
    body: bytes,
    now: float,
    app_id: str | None = None,
    priority: int | None = None,
    reply_to: str | None = None,
    deadline: float | None = None,
    eta: float | None = None,
    headers: h.Headers | None = None,
) -> Message:
    """Return the first message of a job. Times are seconds since the epoch."""
    fields: dict[str, object] = {
        h.VERSION: h.WIRE_VERSION,
        h.ATTEMPT: 1,
        h.EXECUTION: 1,
        h.QUEUE: queue,
        h.ENQUEUED_AT: millis(now),
    }
    if headers:
        fields = {**headers, **fields}
    if deadline is not None:
        fields[h.DEADLINE] = millis(deadline)
    if eta is not None:
        fields[h.ETA] = millis(eta)
    message_id = new_message_id()
    return Message(body, message_id, task, job_id, reply_to, JSON, None, int(now), app_id, priority, fields)


def read_job(message: Message, queue: str) -> JobMessage:
    """Read a message that was delivered from ``queue``. Raises :class:`UndecodableMessage`."""
    headers = message.headers
    version = headers.get(h.VERSION, h.WIRE_VERSION)
    if type(version) is not int or version != h.WIRE_VERSION:
        _check_version(h.whole_number(headers, h.VERSION, h.WIRE_VERSION, least=1))
    attempt = h.whole_number(headers, h.ATTEMPT, 1, least=1)
    execution = h.whole_number(headers, h.EXECUTION, 1, least=1)
    enqueued_at = h.instant(headers, h.ENQUEUED_AT)
    deadline = h.instant(headers, h.DEADLINE) if h.DEADLINE in headers else None
    return JobMessage(
        message, message.type or None, job_id_of(message), attempt, execution, queue, enqueued_at, deadline
    )


def _check_version(version: int) -> None:
    if version > h.WIRE_VERSION:
        raise UndecodableMessage(
            f"wire version {version}, this program reads up to {h.WIRE_VERSION}; upgrade the worker"
        )


def job_id_of(message: Message) -> str:
    """Return the job id of any message; it never raises, so that unreadable ones can be named too.

    A foreign message has none: it is derived from the ``message_id``, and new at each call where that is missing too.
    """
    own = h.text(message.headers, h.JOB_ID)
    if own and is_job_id(own):
        return own
    if h.VERSION in message.headers and is_job_id(message.correlation_id):
        return str(message.correlation_id)
    return derived_job_id(message.message_id) if message.message_id else new_job_id()


def millis(instant: float) -> int:
    """Return seconds since the epoch as whole milliseconds, rounded up, so that no ETA comes early."""
    return -int(-instant * 1000 // 1)
