"""What arrives, as a message and how often it came back.

Where it was published is put into its headers, unless that is the default exchange, or the ladder, on its way to the
queue that it was published for; copies keep these headers.

A quorum queue counts by itself, in ``x-delivery-count``. A classic one only says that a message came back: there the
consumer counts, in a header of a copy that it publishes before the job is run. Neither is part of the message.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from taskq.broker.amqp.delays import NOT_BEFORE
from taskq.broker.amqp.plane.events import Delivered, Got
from taskq.broker.amqp.plane.faults import ProtocolViolation
from taskq.broker.amqp.plane.properties import decode_content
from taskq.errors import UndecodableMessage
from taskq.wire.headers import EXCHANGE, JOB_ID, KEY, VERSION, Headers, for_copy, instant
from taskq.wire.ids import new_message_id
from taskq.wire.job import job_id_of
from taskq.wire.message import Message

REDELIVERIES = "taskq-redeliveries"
_COUNT = "x-delivery-count"
_OURS = (_COUNT, "x-acquired-count", REDELIVERIES, NOT_BEFORE)
_MOST = 2**31  # times that a message came back; AMQP cannot carry every number that is added to a larger one
_LADDERS = "taskq.delay."  # of this layout, and of any other


class Received(NamedTuple):
    """``redeliveries``: how often this copy was delivered before. ``uncounted``: nobody has counted this time yet.

    ``not_before``: it came out of the delay ladder too early, since that is shorter than its delay.
    """

    message: Message
    redeliveries: int
    uncounted: bool
    not_before: float | None

    def copy(self, redeliveries: int) -> Message:
        """Return another copy of the message, which says how often it came back."""
        return another(self.message, redeliveries)


def another(message: Message, redeliveries: int) -> Message:
    """Return another copy of a message that arrived, which says how often it came back. It stays the same job."""
    headers = for_copy(message.headers)
    job_id = job_id_of(message)
    if VERSION not in message.headers or message.correlation_id != job_id:
        headers[JOB_ID] = job_id  # else it follows from the message id, which is another one now
    if redeliveries:
        headers[REDELIVERIES] = redeliveries
    return message._replace(message_id=new_message_id(), headers=headers)


def received(event: Delivered | Got) -> Received:
    """Return what arrived. Properties that nobody can read leave a message of the body alone."""
    try:
        message = decode_content(event.content, event.body)
    except ProtocolViolation:
        message = Message(body=event.body, message_id="", content_type=None, headers={})
        if event.exchange:
            _sign(message.headers, event)
        return Received(message, 0, False, None)
    headers = message.headers
    if event.exchange:
        _sign(headers, event)
    if not event.redelivered and REDELIVERIES not in headers and NOT_BEFORE not in headers and _COUNT not in headers:
        return Received(message, 0, False, None)
    assert isinstance(headers, dict)
    counted, own = _number(headers.get(_COUNT)), _number(headers.get(REDELIVERIES))
    not_before = _instant(headers)
    for name in _OURS:
        headers.pop(name, None)
    return Received(
        message,
        redeliveries=(counted or 0) + (own or 0),
        uncounted=event.redelivered and counted is None,
        not_before=not_before,
    )


def _sign(headers: Any, event: Delivered | Got) -> None:
    if EXCHANGE not in headers and not event.exchange.startswith(_LADDERS):
        headers[EXCHANGE], headers[KEY] = event.exchange, event.key


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and 0 <= value <= _MOST else None


def _instant(headers: Headers) -> float | None:
    try:
        return instant(headers, NOT_BEFORE)
    except UndecodableMessage:  # no instant, or after the year 9999: it is nothing of ours
        return None
