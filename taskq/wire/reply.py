"""A reply on the wire: a result, an error, an expiry or a cancellation, back to the caller.

A result's body is the JSON of the returned value and nothing around it, so that any AMQP client can read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import assert_never

from taskq.errors import UndecodableMessage
from taskq.wire import headers as h
from taskq.wire.failure import Failure
from taskq.wire.ids import new_message_id
from taskq.wire.message import Message

RESULT = "result"
ERROR = "error"
_EXPIRED = "expired"
_CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Returned:
    """The task returned. ``body`` is the JSON of its value."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The job became a dead letter for ``reason``."""

    reason: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class Expired:
    """The job's time to start was over before a worker could run it."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job was cancelled."""


Reply = Returned | Failed | Expired | Cancelled


def new_reply(reply: Reply, correlation_id: str | None) -> Message:
    """Return the message that carries ``reply`` to the caller of the job with that ``correlation_id``."""
    match reply:
        case Returned(body):
            return Message(body=body, message_id=new_message_id(), type=RESULT, correlation_id=correlation_id)
        case Failed(reason, described):
            failure = described.fitted()
            error = {"type": failure.type, "message": failure.message, "traceback": failure.traceback}
        case Expired():
            reason, error = (
                _EXPIRED,
                {"type": "JobExpired", "message": "expired before it could run", "traceback": ""},
            )
        case Cancelled():
            reason, error = _CANCELLED, {"type": "JobCancelled", "message": "was cancelled", "traceback": ""}
        case _:
            assert_never(reply)
    return Message(
        body=json.dumps(error, ensure_ascii=False).encode(),
        message_id=new_message_id(),
        type=ERROR,
        correlation_id=correlation_id,
        headers={h.VERSION: h.WIRE_VERSION, h.DEAD_REASON: reason, h.ERROR_TYPE: error["type"]},
    )


def read_reply(message: Message, *, foreign: bool = False) -> Reply:
    """Read a reply. One without a ``type``, from a plain AMQP program, is a result.

    ``foreign``: only a plain AMQP program can have sent it. Such a one may use types of its own, or give the job's back
    with all its properties; whatever is no error is a result. Raises :class:`UndecodableMessage`.
    """
    match message.type or RESULT:
        case "result":
            return Returned(message.body)
        case "error":
            return _read_error(message)
        case _ if foreign:
            return Returned(message.body)
        case other:
            raise UndecodableMessage(f"a reply of the unknown type {other[:40]!r}; upgrade this program")


def _read_error(message: Message) -> Reply:
    reason = h.text(message.headers, h.DEAD_REASON) or "failed"
    if reason == _EXPIRED:
        return Expired()
    if reason == _CANCELLED:
        return Cancelled()
    try:
        body = json.loads(message.body)
        failure = Failure(str(body["type"]), str(body["message"]), str(body.get("traceback", "")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # not its repr: that of a UnicodeDecodeError has the whole body in it
        raise UndecodableMessage(f"an error reply that cannot be read: {type(error).__name__}: {error}") from None
    return Failed(reason, failure.fitted())
