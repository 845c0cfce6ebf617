"""One connection to the broker: aio-pika's, with a plane below it. It is opened once, and not again.

aio-pika connects, logs in, keeps the heartbeat and closes. Every channel is the plane's, and gets its number here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aio_pika
import aiormq
from aio_pika.connection import make_url

from taskq.broker.amqp.faults import translated
from taskq.broker.amqp.location import TLS_KEYS
from taskq.broker.amqp.plane.events import Event
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.plane.numbers import ChannelNumbers
from taskq.broker.amqp.plane.transport import Plane, PlaneFactory
from taskq.broker.amqp.tls import tls_context

_CLOSE_S, _ABORTED_S = 5.0, 1.0
_SILENCE = 1.75  # heartbeats: RabbitMQ sends one each half of it, and all is well again before the second is over


def _nothing(told: Event | ChannelGone) -> None:
    """Nobody listens to a channel to declare and to ask on: it is told by its answers."""


class Link:
    """An open connection. ``plane`` says whether it is blocked, and when and why it was lost."""

    def __init__(self, connection: aio_pika.Connection, plane: Plane, tune: Any, heartbeat_s: int) -> None:
        self.plane = plane
        self._connection = connection
        self._numbers = ChannelNumbers(tune.channel_max or 0)
        self._silence_s = _SILENCE * heartbeat_s
        self._loop = asyncio.get_running_loop()
        self._watch = self._loop.call_later(self._silence_s, self._look)

    @classmethod
    async def open(cls, address: str, *, label: str, name: str, heartbeat_s: int, timeout_s: float) -> Link:
        """Connect to ``address``, a URL with all that belongs to it. ``name`` is what the broker shows.

        Raises :class:`BrokerUnreachable`, :class:`AccessRefused`, within ``timeout_s``.
        """
        # What is said of TLS is ours to read: the library would stop at a '+' in `cadata`.
        url = make_url(address, heartbeat=heartbeat_s, name=name).without_query_params(*TLS_KEYS)
        connection = aio_pika.Connection(url)
        factory = PlaneFactory()
        connection.kwargs["transport_factory"] = factory
        try:
            with translated(label, connecting=True):
                async with asyncio.timeout(timeout_s):
                    if url.scheme == "amqps":
                        connection.kwargs["context"] = await asyncio.to_thread(tls_context, address)
                    await connection.connect()
                return cls._over(connection, factory.plane, heartbeat_s)
        except BaseException:
            if factory.opened:
                factory.plane.abort("it was not opened")
            raise

    @classmethod
    def _over(cls, connection: aio_pika.Connection, plane: Plane, heartbeat_s: int) -> Link:
        assert connection.transport is not None
        underlay = connection.transport.connection
        assert isinstance(underlay, aiormq.Connection)
        tune = underlay.connection_tune
        plane.tune(tune.frame_max or 0)
        plane.answers_cancel = underlay.accept_consumer_cancel_ok
        return cls(connection, plane, tune, heartbeat_s)

    @property
    def alive(self) -> bool:
        """Whether it was not lost yet."""
        return not self.plane.lost.done()

    @property
    def channels(self) -> int:
        """How many channels are open, or not known to be closed yet."""
        return len(self._numbers)

    async def hot_channel(
        self, receive: Callable[[Event], None] = _nothing, on_gone: Callable[[ChannelGone], None] = _nothing
    ) -> HotChannel:
        """Open a channel. Raises :class:`ChannelGone` when the connection is lost, :class:`NoChannelFree`."""
        if not self.alive:
            raise ChannelGone(text=self.plane.lost.result())
        channel = HotChannel(
            self.plane, self._numbers.take(), receive=receive, on_gone=on_gone, free=self._numbers.free
        )
        await channel.open()
        return channel

    async def close(self) -> None:
        """Close it in order, or at once when the broker does not answer. Harmless when it is lost, and twice."""
        self._watch.cancel()
        if self.alive:
            self.plane.flush()
        # In a task of its own: the client library does not always pass a cancellation on.
        closing = asyncio.ensure_future(self._connection.close())
        closing.add_done_callback(_looked_at)
        try:
            await asyncio.wait({closing}, timeout=_CLOSE_S)
        finally:
            self.abort("it was closed")
        if not closing.done():
            await asyncio.wait({closing}, timeout=_ABORTED_S)

    def abort(self, reason: str) -> None:
        """Give it up at once, without a word to the broker."""
        self._watch.cancel()
        self.plane.abort(reason)

    def _look(self) -> None:
        """Give the connection up when it is alive in name only."""
        if not self.alive:
            return
        silent_s = self._loop.time() - self.plane.last_seen
        if silent_s >= self._silence_s:
            self.plane.abort(f"no sign of life for {silent_s:.0f} s")
            return
        self._watch = self._loop.call_later(self._silence_s - silent_s, self._look)


def _looked_at(closing: asyncio.Future[None]) -> None:
    """Take note of how the client library ended: the connection is closed, whatever it says."""
    if not closing.cancelled():
        closing.exception()
