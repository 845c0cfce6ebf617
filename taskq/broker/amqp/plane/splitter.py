"""The byte stream of a connection, cut into frames: those of hot channels are read, the others passed on.

It starts at byte 0, since a cut that starts later starts in the middle of a frame. An incomplete frame waits in one
buffer until all of it is there, and is looked at no earlier, so that the work is linear in the bytes however they are
cut. What channel 0 says about alarms and the connection's end is read in passing: aio-pika hides the one, and tells the
other late.
"""

from __future__ import annotations

from collections.abc import Callable

from pamqp import commands

from taskq.broker.amqp.plane.channel import DELIVER, FRAME_HEAD, FRAME_OVERHEAD, METHOD, ChannelState, unmarshalled
from taskq.broker.amqp.plane.faults import ProtocolViolation

FRAME_END = 0xCE
_HEAD_SIZE = FRAME_HEAD.size
_FEWEST = FRAME_OVERHEAD  # bytes of a frame without a payload
_BEFORE_TUNING = 1 << 20  # bytes; the frames of a handshake are small
_OTHER_PROTOCOL = b"AMQP"
_BLOCKED, _UNBLOCKED, _CLOSE = b"\x00\x0a\x00\x3c", b"\x00\x0a\x00\x3d", b"\x00\x0a\x00\x32"


class Splitter:
    """Cuts what :meth:`feed` gets. ``channels`` are the hot ones, by number; their owner adds and removes them.

    ``blocked`` is the reason of the broker's alarm while there is one; ``on_blocked`` is called when that changes.
    ``on_close`` is called with the broker's reason when it closes the connection.
    """

    def __init__(self, on_blocked: Callable[[str | None], None], on_close: Callable[[str], None]) -> None:
        self.channels: dict[int, ChannelState] = {}
        self.blocked: str | None = None
        self._on_blocked = on_blocked
        self._on_close = on_close
        self._largest = _BEFORE_TUNING
        self._rest = bytearray()
        self._wanted = _FEWEST  # bytes until it is worth looking at `_rest` again
        self._started = False
        self._foreign = False

    def tune(self, frame_max: int) -> None:
        """Set the largest frame, in bytes, that was agreed on; 0 is none."""
        self._largest = frame_max or 1 << 32

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; return the frames that are not ours. Raises :class:`ProtocolViolation`."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return b""
            data = bytes(self._rest)
            self._rest.clear()
        if self._foreign or self._is_foreign(data):
            return data
        at, cold = self._split(data)
        if at < len(data):
            self._rest += memoryview(data)[at:]
        return cold

    def _is_foreign(self, data: bytes) -> bool:
        """Say whether the peer answered with the protocol it speaks instead, as a broker does that knows no 0-9-1."""
        if not self._started:
            self._started = True
            self._foreign = data.startswith(_OTHER_PROTOCOL)
        return self._foreign

    def _split(self, data: bytes) -> tuple[int, bytes]:
        """Read the frames that are complete; return where the rest begins, and the frames that are not ours."""
        unpack, channels, size = FRAME_HEAD.unpack_from, self.channels, len(data)
        at = cold_from = 0
        cold: list[bytes] = []
        while size - at >= _FEWEST:
            kind, number, length = unpack(data, at)
            end = at + _FEWEST + length
            if end > size:
                break
            if data[end - 1] != FRAME_END:
                raise ProtocolViolation(f"a frame on channel {number} that does not end where it says")
            channel = channels.get(number)
            if channel is not None:
                if cold_from < at:
                    cold.append(data[cold_from:at])
                if (
                    kind == METHOD
                    and data.startswith(DELIVER, at + 7)
                    and (after := channel.receive_whole(data, at, end))
                ):
                    end = after
                else:
                    channel.receive(kind, data[at + _HEAD_SIZE : end - 1])
                cold_from = end
            elif not number and kind == METHOD:
                self._overhear(data[at + _HEAD_SIZE : end - 1])
            at = end
        if cold_from < at:
            cold.append(data[cold_from:at])
        self._expect(data, at)
        return at, cold[0] if len(cold) == 1 else b"".join(cold)

    def _expect(self, data: bytes, at: int) -> None:
        self._wanted = _FEWEST
        if len(data) - at >= _HEAD_SIZE:
            kind, number, length = FRAME_HEAD.unpack_from(data, at)
            if length + _FEWEST > self._largest or not kind:
                raise ProtocolViolation(f"a frame of type {kind} and {length} bytes on channel {number}")
            self._wanted += length

    def _overhear(self, payload: bytes) -> None:
        method = payload[:4]
        if method == _BLOCKED:
            frame = unmarshalled(0, payload)
            assert isinstance(frame, commands.Connection.Blocked)
            self.blocked = frame.reason or "an alarm"
        elif method == _UNBLOCKED:
            self.blocked = None
        elif method == _CLOSE:
            close = unmarshalled(0, payload)
            assert isinstance(close, commands.Connection.Close)
            self._on_close(close.reply_text or f"code {close.reply_code}")
            return
        else:
            return
        self._on_blocked(self.blocked)
