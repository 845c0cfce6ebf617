"""The plane of one connection: it sits on the transport, above it aio-pika on one side and hot channels on the other.

What came in is split: whole frames of hot channels go to them, everything else to aio-pika. What goes out is collected
and written once for each turn of the event loop, with the acks of that turn. aio-pika sees no life while only hot
frames flow, and would call the connection stuck; so it is shown a heartbeat at most once a second when bytes came in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from yarl import URL

from taskq.broker.amqp.plane.faults import ChannelGone, ProtocolViolation
from taskq.broker.amqp.plane.splitter import Splitter

if TYPE_CHECKING:
    from taskq.broker.amqp.plane.hotchannel import HotChannel

_HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
_HEARTBEAT_EVERY_S = 1.0
_REST_S = 1.0


class Plane(asyncio.Protocol):
    """What is below aio-pika. ``lost`` ends with the reason when the connection does, for whatever cause.

    ``frame_max`` (bytes) and ``answers_cancel`` are set by the owner when the handshake is over. ``on_change`` is
    called when ``blocked`` or ``writable`` changed.
    """

    def __init__(self, inner: asyncio.Protocol, transport: asyncio.Transport) -> None:
        self._inner = inner
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._splitter = Splitter(self._alarm_changed, self._closed_by_peer)
        self._channels: dict[int, HotChannel] = {}
        self._out: list[bytes] = []
        self._acking: list[HotChannel] = []
        self._flush_asked = False
        self._shown_alive_at = 0.0
        self.last_seen = self._loop.time()
        self._rests_until = 0.0
        self.writable = True
        self.answers_cancel = False
        self.frame_max = 0
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.on_change: Callable[[], None] = _nothing

    @property
    def blocked(self) -> str | None:
        """The broker's reason, while an alarm keeps it from taking publishes."""
        return self._splitter.blocked

    def tune(self, frame_max: int) -> None:
        """Keep to what was agreed with the broker; 0 is no limit."""
        self.frame_max = frame_max
        self._splitter.tune(frame_max)

    def add(self, channel: HotChannel) -> None:
        """Give a channel the frames of its number."""
        self._channels[channel.number] = channel
        self._splitter.channels[channel.number] = channel.state

    def remove(self, number: int) -> None:
        """Give a channel no frames any more; harmless twice."""
        self._channels.pop(number, None)
        self._splitter.channels.pop(number, None)

    def write(self, frames: bytes) -> None:
        """Send whole frames, with all that this turn of the loop has to send."""
        self._out.append(frames)
        if not self._flush_asked:
            self._flush_asked = True
            self._loop.call_soon(self._flush_turn)

    def write_now(self, frames: bytes) -> None:
        """Send whole frames, with what waits, without waiting for the end of this turn."""
        self._out.append(frames)
        self.flush()

    def acks_of(self, channel: HotChannel) -> None:
        """Send a channel's acks at the end of this turn. Once for each turn and channel."""
        self._acking.append(channel)
        if not self._flush_asked:
            self._flush_asked = True
            self._loop.call_soon(self._flush_turn)

    def flush(self) -> None:
        """Send now what waits for the end of the turn."""
        out = self._out
        for channel in self._acking:
            out += channel.take_acks()
        self._acking.clear()
        if out and not self._transport.is_closing():
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()

    def _flush_turn(self) -> None:
        self._flush_asked = False
        self.flush()

    def abort(self, reason: str) -> None:
        """Give the connection up at once, without a word to the broker."""
        self._end(reason)
        self._transport.abort()

    # Faults of ours.

    def tell(self, what: str, error: Exception) -> None:
        """Tell a fault of ours, as the event loop does. Where it would go to, the transport ends the connection."""
        self._loop.call_exception_handler({"message": f"taskq failed {what}", "exception": error})

    def rest(self) -> None:
        """Let no channel be opened for a moment, so that what fails again and again does so slowly."""
        self._rests_until = self._loop.time() + _REST_S

    async def rested(self) -> None:
        """Wait until a channel may be opened. Raises :class:`ChannelGone` when the connection goes meanwhile."""
        while (left_s := self._rests_until - self._loop.time()) > 0:
            await asyncio.wait({self.lost}, timeout=left_s)
            if self.lost.done():
                raise ChannelGone(text=self.lost.result())

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """Split what came in."""
        self.last_seen = now = self._loop.time()
        try:
            cold = self._splitter.feed(data)
        except ProtocolViolation as error:
            self.abort(f"the broker breaks the protocol: {error}")
            return
        if self._channels:
            for channel in list(self._channels.values()):
                if channel.state.events:
                    channel.dispatch()
            if not cold and now - self._shown_alive_at > _HEARTBEAT_EVERY_S:
                self._shown_alive_at = now
                cold = _HEARTBEAT
        if cold:
            self._inner.data_received(cold)

    def eof_received(self) -> bool | None:
        """The broker ends the connection."""
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._end(str(exc) if exc else "it was closed")
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self.writable = False
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The socket takes bytes again."""
        self.writable = True
        self._inner.resume_writing()
        self.on_change()

    def _alarm_changed(self, reason: str | None) -> None:
        # Not from within the reading: who listens may write, or close.
        self._loop.call_soon(self._tell_change)

    def _tell_change(self) -> None:
        self.on_change()

    def _closed_by_peer(self, text: str) -> None:
        # aio-pika gets the frame, too, and ends the connection; nobody has to wait for that.
        self._loop.call_soon(self._end, text)

    def _end(self, reason: str) -> None:
        if self.lost.done():
            return
        self.lost.set_result(reason)
        for channel in list(self._channels.values()):
            channel.lose(reason)


class PlaneFactory(TransportFactory):
    """Opens the transport of one connection as aio-pika would, and puts a plane onto it."""

    def __init__(self) -> None:
        self._plane: Plane | None = None

    @property
    def plane(self) -> Plane:
        """The plane, once the transport is open."""
        assert self._plane is not None
        return self._plane

    @property
    def opened(self) -> bool:
        """Whether a transport was opened."""
        return self._plane is not None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return what aio-pika reads from and writes to."""
        library = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, writer = await library.create(url, **kwargs)
        # No await from here on: the first byte that the plane does not see would put it out of step.
        transport = cast("asyncio.Transport", writer.transport)
        self._plane = Plane(cast("asyncio.Protocol", transport.get_protocol()), transport)
        transport.set_protocol(self._plane)
        return reader, writer


def _nothing() -> None:
    """Nobody listens yet."""
