"""The least of AMQP 0-9-1 that can publish, confirm, consume and acknowledge: what a hand-packed client can be.

One connection, one channel, frames from constants and templates, one write for all that is due in a turn of the loop.
It knows nothing of errors: a close from the server ends the program. It shares no code with taskq.
"""

import asyncio
from collections.abc import Callable
from struct import Struct
from urllib.parse import unquote, urlsplit

_HEAD = Struct(">BHI")  # type, channel, size of a frame
_END = b"\xce"
_U32 = Struct(">I")
_U64 = Struct(">Q")
_ACK = Struct(">BHIHHQBB")
_CONTENT = Struct(">BHIHHQ")
_DELIVER, _ACKED, _NACKED = 60 << 16 | 60, 60 << 16 | 80, 60 << 16 | 120
_CLOSES = (10 << 16 | 50, 20 << 16 | 40)
_HEARTBEAT = b"\x08\0\0\0\0\0\0\xce"
_JSON_PERSISTENT = b"\x10application/json\x02"

Receive = Callable[[int, bytes, bytes], None]


def short(text: bytes) -> bytes:
    return bytes((len(text),)) + text


def _method(channel: int, number: int, arguments: bytes = b"") -> bytes:
    return _HEAD.pack(1, channel, 4 + len(arguments)) + _U32.pack(number) + arguments + _END


class Publishing:
    """A template of messages to one queue: all but the body, and for calls the correlation id, is packed once."""

    def __init__(self, queue: bytes, *, persistent: bool = True) -> None:
        self._method = _method(1, 60 << 16 | 40, b"\0\0\0" + short(queue) + b"\0")
        self._mode = _JSON_PERSISTENT if persistent else b"\x10application/json\x01"

    def message(self, body: bytes, correlation: bytes = b"", reply_to: bytes = b"") -> bytes:
        flags, properties = 0x9000, self._mode
        if correlation:
            flags |= 0x0400
            properties += short(correlation)
        if reply_to:
            flags |= 0x0200
            properties += short(reply_to)
        content = _CONTENT.pack(2, 1, 14 + len(properties), 60, 0, len(body)) + flags.to_bytes(2, "big") + properties
        return b"".join((self._method, content, b"\xce\x03\0\x01", _U32.pack(len(body)), body, _END))


class Wire(asyncio.Protocol):
    """A connection with one channel. ``on_confirm(count)`` is called once for what came together."""

    def __init__(self) -> None:
        self.on_delivery: Receive = lambda tag, properties, body: None
        self.on_confirm: Callable[[int], None] = lambda confirmed: None
        self._buffer = b""
        self._confirmed = 0  # since the last turn
        self._low = 0  # every publish up to this one is confirmed
        self._ahead: set[int] = set()  # confirmed beyond it
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[bytes] | None = None

    @classmethod
    async def open(cls, url: str) -> "Wire":
        parts = urlsplit(url)
        _, wire = await asyncio.get_running_loop().create_connection(cls, parts.hostname, parts.port)
        login = b"\0" + unquote(parts.username or "").encode() + b"\0" + unquote(parts.password or "").encode()
        await wire._ask(b"AMQP\0\0\x09\x01")
        start_ok = b"\0\0\0\0" + short(b"PLAIN") + _U32.pack(len(login)) + login + short(b"en_US")
        tune = await wire._ask(_method(0, 10 << 16 | 11, start_ok))
        wire.write(_method(0, 10 << 16 | 31, tune[4:10] + b"\0\0"))  # as it likes, without heartbeats
        await wire._ask(_method(0, 10 << 16 | 40, short(unquote(parts.path[1:]).encode()) + b"\0\0"))
        await wire._ask(_method(1, 20 << 16 | 10, b"\0"))
        return wire

    async def confirm(self) -> None:
        await self._ask(_method(1, 85 << 16 | 10, b"\0"))

    async def declare(self, queue: bytes, kind: bytes) -> None:
        """Declare a durable queue of a type."""
        table = short(b"x-queue-type") + b"S" + _U32.pack(len(kind)) + kind
        await self._ask(_method(1, 50 << 16 | 10, b"\0\0" + short(queue) + b"\x02" + _U32.pack(len(table)) + table))

    async def declare_own(self, queue: bytes) -> None:
        """Declare a classic queue that is gone with this connection."""
        await self._ask(_method(1, 50 << 16 | 10, b"\0\0" + short(queue) + b"\x04" + _U32.pack(0)))

    async def prefetch(self, count: int) -> None:
        await self._ask(_method(1, 60 << 16 | 10, _U32.pack(0) + count.to_bytes(2, "big") + b"\0"))

    async def consume(self, queue: bytes, *, no_ack: bool = False) -> None:
        flags = b"\x02" if no_ack else b"\0"
        await self._ask(_method(1, 60 << 16 | 20, b"\0\0" + short(queue) + short(b"c") + flags + _U32.pack(0)))

    def ack(self, tag: int, *, multiple: bool) -> bytes:
        return _ACK.pack(1, 1, 13, 60, 80, tag, multiple, 0xCE)

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self._transport.close()

    async def _ask(self, data: bytes) -> bytes:
        self._answer = asyncio.get_running_loop().create_future()
        self.write(data)
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        at, size = 0, len(buffer)
        while size - at >= 8:
            kind, _, length = _HEAD.unpack_from(buffer, at)
            end = at + 8 + length
            if end > size:
                break
            if kind == 1:
                end = self._method_received(buffer, at, end)
                if end < 0:
                    break
            elif kind == 8:
                self.write(_HEARTBEAT)
            at = end
        self._buffer = buffer[at:]
        if self._confirmed:
            confirmed, self._confirmed = self._confirmed, 0
            self.on_confirm(confirmed)

    def _method_received(self, buffer: bytes, at: int, end: int) -> int:
        """Return where the next frame begins; negative when the rest of a delivery has not come yet."""
        number = _U32.unpack_from(buffer, at + 7)[0]
        if number == _DELIVER:
            return self._delivered(buffer, at, end)
        if number == _ACKED:
            self._count_confirm(_U64.unpack_from(buffer, at + 11)[0], multiple=bool(buffer[at + 19]))
        elif number == _NACKED or number in _CLOSES:
            raise SystemExit(f"RabbitMQ refused: {buffer[at:end]!r}")
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result(buffer[at + 7 : end - 1])
        return end

    def _count_confirm(self, tag: int, *, multiple: bool) -> None:
        """Confirms come one by one, in any order, or for all up to a tag of which some may have come before."""
        ahead = self._ahead
        if multiple:
            before = len(ahead)
            ahead.difference_update([known for known in ahead if known <= tag])
            self._confirmed += tag - self._low - (before - len(ahead))
            self._low = tag
        else:
            self._confirmed += 1
            ahead.add(tag)
        while self._low + 1 in ahead:
            self._low += 1
            ahead.discard(self._low)

    def _delivered(self, buffer: bytes, at: int, end: int) -> int:
        size = len(buffer)
        if size - end < 7:
            return -1
        body = end + 8 + _HEAD.unpack_from(buffer, end)[2]
        if size - body < 7:
            return -1
        length = _HEAD.unpack_from(buffer, body)[2]
        if size - body < 8 + length:
            return -1
        tag = _U64.unpack_from(buffer, at + 12 + buffer[at + 11])[0]
        self.on_delivery(tag, buffer[end + 21 : body - 1], buffer[body + 7 : body + 7 + length])
        return body + 8 + length
