"""The state of one hot channel, without I/O: frames in, events out.

A message is a method frame, a content header and any number of body frames; frames of other channels may lie between
them, none of this channel. Bodies are collected as they come, so that a large one costs its size once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import Struct
from struct import error as StructError

import pamqp.exceptions
import pamqp.frame
from pamqp import commands
from pamqp.base import Frame

from taskq.broker.amqp.plane.events import (
    Answered,
    Cancelled,
    Closed,
    Confirmed,
    Delivered,
    Event,
    Got,
    Returned,
)
from taskq.broker.amqp.plane.faults import ProtocolViolation
from taskq.broker.amqp.plane.properties import LEAST_CONTENT, body_size

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_HEAD = Struct(">BHI")  # type, channel, size of the payload
FRAME_OVERHEAD = 8  # bytes around a payload

_TAG = Struct(">QB")
_TAG_EXCHANGE = Struct(">QBB")  # and how long the name of the exchange is
_GET_OK = Struct(">I")
_CODE = Struct(">H")
_HEADER_FRAME = Struct(">BHIHHQ")  # type, channel, size, class, weight, size of the body
DELIVER = b"\x00\x3c\x00\x3c"
_BASIC = 60
_FRAME_END = 0xCE
_RETURN = b"\x00\x3c\x00\x32"
_GOT = b"\x00\x3c\x00\x47"
_ACK = b"\x00\x3c\x00\x50"
_NACK = b"\x00\x3c\x00\x78"
_RECOVER_ASYNC = b"\x00\x3c\x00\x64"  # pamqp warns when it reads one

# A method whose content is still to come: it wants the content header and the body.
_Half = Callable[[bytes, bytes], Event]


class ChannelState:
    """Reads the frames of channel ``number``. ``events`` is what they say, for the owner to take and clear."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.events: list[Event] = []
        self._half: _Half | None = None
        self._header: bytes | None = None
        self._missing = 0
        self._bodies: list[bytes] = []

    def receive(self, kind: int, payload: bytes) -> None:
        """Take one frame. Raises :class:`ProtocolViolation`."""
        if kind == METHOD:
            if self._half is not None:
                raise ProtocolViolation(f"channel {self.number}: a method in the middle of a message")
            self._receive_method(payload)
        elif kind == HEADER:
            self._receive_header(payload)
        elif kind == BODY:
            self._receive_body(payload)
        else:
            raise ProtocolViolation(f"channel {self.number}: a frame of type {kind}")

    def receive_whole(self, data: bytes, at: int, end: int) -> int:
        """Take a delivery whose method frame is ``data[at:end]``, when its other frames lie behind it.

        As nearly always they do: a content header and one body frame. Returns where the delivery ends, or 0 when it is
        not so, or anything is wrong with it; then nothing was taken.
        """
        size = len(data)
        if self._half is not None or end + _HEADER_FRAME.size > size:
            return 0
        kind, number, length, class_id, _, body_size = _HEADER_FRAME.unpack_from(data, end)
        body_at = end + FRAME_OVERHEAD + length  # of its frame
        if (
            kind != HEADER
            or number != self.number
            or class_id != _BASIC
            or length < LEAST_CONTENT
            or body_at + FRAME_OVERHEAD > size
        ):
            return 0
        kind, number, body_length = FRAME_HEAD.unpack_from(data, body_at)
        after: int = body_at + FRAME_OVERHEAD + body_length
        tag_at = at + 12 + data[at + 11]
        if (
            kind != BODY
            or number != self.number
            or body_length != body_size
            or not body_size
            or after > size
            or data[body_at - 1] != _FRAME_END
            or data[after - 1] != _FRAME_END
            or tag_at + _TAG_EXCHANGE.size >= end
        ):
            return 0
        tag, redelivered, named = _TAG_EXCHANGE.unpack_from(data, tag_at)
        try:
            published = _published(data[at : end - 1], tag_at + 9 - at) if named else {}
        except IndexError:
            return 0
        content, body = data[end + 7 : body_at - 1], data[body_at + 7 : after - 1]
        self.events.append(Delivered(tag, bool(redelivered & 1), content, body, **published))
        return after

    def _receive_method(self, payload: bytes) -> None:
        method = payload[:4]
        try:
            if method == DELIVER:
                at = 5 + payload[4]
                tag, redelivered, named = _TAG_EXCHANGE.unpack_from(payload, at)
                self._half = partial(Delivered, tag, bool(redelivered & 1))
                if named:
                    self._half = partial(self._half, **_published(payload, at + 9))
            elif method == _ACK:
                tag, multiple = _TAG.unpack_from(payload, 4)
                self.events.append(Confirmed(tag, bool(multiple & 1), True))
            elif method == _NACK:
                tag, bits = _TAG.unpack_from(payload, 4)
                self.events.append(Confirmed(tag, bool(bits & 1), False))
            elif method == _GOT:
                tag, redelivered, named = _TAG_EXCHANGE.unpack_from(payload, 4)
                (left,) = _GET_OK.unpack_from(payload, len(payload) - 4)
                self._half = partial(Got, tag, bool(redelivered & 1), left)
                if named:
                    self._half = partial(self._half, **_published(payload, 13))
            elif method == _RETURN:
                (code,) = _CODE.unpack_from(payload, 4)
                self._half = partial(Returned, code, payload[7 : 7 + payload[6]].decode(errors="replace"))
            else:
                self._receive_cold(payload)
        except (StructError, IndexError) as error:
            raise ProtocolViolation(f"channel {self.number}: a method that cannot be read: {error}") from None

    def _receive_cold(self, payload: bytes) -> None:
        frame = unmarshalled(self.number, payload)
        if isinstance(frame, commands.Basic.Cancel):
            self.events.append(Cancelled(frame.consumer_tag or ""))
        elif isinstance(frame, commands.Channel.Close):
            self.events.append(Closed(int(frame.reply_code or 0), frame.reply_text or ""))
        else:
            self.events.append(Answered(frame))

    def _receive_header(self, payload: bytes) -> None:
        if self._half is None or self._header is not None:
            raise ProtocolViolation(f"channel {self.number}: a content header without its method")
        self._header = payload
        self._missing = body_size(payload)
        if not self._missing:
            self._complete(b"")

    def _receive_body(self, payload: bytes) -> None:
        if self._header is None or len(payload) > self._missing:
            raise ProtocolViolation(f"channel {self.number}: more body than its header says")
        self._missing -= len(payload)
        if self._missing:
            self._bodies.append(payload)
        elif self._bodies:
            self._bodies.append(payload)
            self._complete(b"".join(self._bodies))
            self._bodies.clear()
        else:
            self._complete(payload)

    def _complete(self, body: bytes) -> None:
        half, header = self._half, self._header
        assert half is not None
        assert header is not None
        self._half = self._header = None
        self.events.append(half(header, body))


def _published(payload: bytes, at: int) -> dict[str, str]:
    """Read the names of exchange and routing key, two short strings."""
    end = at + 1 + payload[at]
    exchange, key = payload[at + 1 : end], payload[end + 1 : end + 1 + payload[end]]
    return {"exchange": exchange.decode(errors="replace"), "key": key.decode(errors="replace")}


def unmarshalled(number: int, payload: bytes) -> Frame:
    """Return a method frame of the rarer kinds. Raises :class:`ProtocolViolation`."""
    if payload.startswith(_RECOVER_ASYNC):
        raise ProtocolViolation(f"channel {number}: Basic.RecoverAsync, which no broker sends")
    try:
        _, _, frame = pamqp.frame.unmarshal(FRAME_HEAD.pack(METHOD, number, len(payload)) + payload + b"\xce")
    except (pamqp.exceptions.PAMQPException, ValueError, StructError, IndexError, RecursionError) as error:
        raise ProtocolViolation(f"channel {number}: a method that cannot be read: {error}") from None
    if not isinstance(frame, Frame):
        raise ProtocolViolation(f"channel {number}: {frame!r} is no method")
    return frame
