"""Commands of a hot channel as bytes.

The frequent ones are packed here; pamqp packs the others, and is the oracle of the tests for all.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

import pamqp.frame
from pamqp import commands
from pamqp.base import Frame

from taskq.broker.amqp.plane.channel import BODY, FRAME_HEAD, FRAME_OVERHEAD, HEADER, METHOD
from taskq.broker.amqp.plane.faults import HeaderTooLarge
from taskq.broker.amqp.plane.tables import short_string

_ACK = Struct(">BHIHHQBB")
_PUBLISH = b"\x00\x3c\x00\x28\x00\x00"
_END = b"\xce"


def command(number: int, frame: Frame) -> bytes:
    """Return any method frame."""
    return pamqp.frame.marshal(frame, number)


def consume(queue: str, tag: str) -> Frame:
    """Return a Basic.Consume with acks by hand."""
    return _Consume(queue=queue, consumer_tag=tag, no_ack=False)


def get(queue: str) -> Frame:
    """Return a Basic.Get with acks by hand."""
    return _Get(queue=queue, no_ack=False)


class _Consume(commands.Basic.Consume):
    # pamqp refuses names that RabbitMQ takes.
    def validate(self) -> None: ...


class _Get(commands.Basic.Get):
    def validate(self) -> None: ...


def ack(number: int, tag: int, *, multiple: bool) -> bytes:
    """Return a Basic.Ack."""
    return _ACK.pack(METHOD, number, 13, 60, 80, tag, multiple, 0xCE)


@lru_cache(maxsize=1024)  # a process publishes to few places, again and again
def _publish_method(number: int, exchange: str, key: str, mandatory: bool) -> bytes:
    payload = _PUBLISH + short_string(exchange) + short_string(key) + (b"\x01" if mandatory else b"\x00")
    return FRAME_HEAD.pack(METHOD, number, len(payload)) + payload + _END


def publish(
    number: int, exchange: str, key: str, content: bytes, body: bytes, *, mandatory: bool, frame_max: int
) -> bytes:
    """Return a whole publish: method, content header, and as many body frames as ``frame_max`` (bytes) asks for.

    Raises :class:`Unencodable`: a name is too long, or (:class:`HeaderTooLarge`) the content header for one frame.
    """
    largest = frame_max - FRAME_OVERHEAD if frame_max else 1 << 32
    if len(content) > largest:
        raise HeaderTooLarge(len(content), largest)
    method = _publish_method(number, exchange, key, mandatory)
    head = FRAME_HEAD.pack(HEADER, number, len(content))
    size = len(body)
    if not size:
        return b"".join((method, head, content, _END))
    if size <= largest:
        return b"".join((method, head, content, _END, FRAME_HEAD.pack(BODY, number, size), body, _END))
    parts = [method, head, content, _END]
    for at in range(0, size, largest):
        part = body[at : at + largest]
        parts += (FRAME_HEAD.pack(BODY, number, len(part)), part, _END)
    return b"".join(parts)
