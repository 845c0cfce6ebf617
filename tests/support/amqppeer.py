"""The other end of a plane, without a socket: it records what is sent, answers commands, and says what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from pamqp import commands, frame
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from taskq.broker.amqp.link import Link
from taskq.broker.amqp.plane.events import Event
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.plane.numbers import ChannelNumbers
from taskq.broker.amqp.plane.transport import Plane
from tests.support.waiting import until

ANSWERS: dict[type[Frame], Callable[[Any], Frame]] = {
    commands.Channel.Open: lambda asked: commands.Channel.OpenOk(),
    commands.Channel.Close: lambda asked: commands.Channel.CloseOk(),
    commands.Confirm.Select: lambda asked: commands.Confirm.SelectOk(),
    commands.Basic.Qos: lambda asked: commands.Basic.QosOk(),
    commands.Basic.Consume: lambda asked: commands.Basic.ConsumeOk(consumer_tag=asked.consumer_tag),
    commands.Basic.Cancel: lambda asked: commands.Basic.CancelOk(consumer_tag=asked.consumer_tag),
}


Sent = Frame | ContentHeader | ContentBody | Heartbeat


def delivery(tag: int, body: bytes, *, redelivered: bool = False, **headers: Any) -> list[Sent]:
    """Return the frames of a delivery; ``_`` in a header's name stands for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    properties = commands.Basic.Properties(message_id=f"m{tag}", headers=named)
    method = commands.Basic.Deliver("1", tag, redelivered, "", "work")
    return [method, ContentHeader(0, len(body), properties), ContentBody(body)]


class Transport(asyncio.Transport):
    """Keeps what is written, one entry for each write."""

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self._peer = peer
        self.writes: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))
        self._peer.read(bytes(data))

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Inner(asyncio.Protocol):
    """Stands where aio-pika is."""

    def __init__(self) -> None:
        self.got = b""

    def data_received(self, data: bytes) -> None:
        self.got += data


class Peer:
    """A broker that has accepted a connection. ``frames``: all methods that it got, each with its channel.

    ``silent``: the kinds of commands that it does not answer. ``published``: the message ids and bodies it got.
    """

    def __init__(self) -> None:
        self.inner = Inner()
        self.transport = Transport(self)
        self.plane = Plane(self.inner, self.transport)
        self.plane.tune(131_072)
        self.frames: list[tuple[int, Frame]] = []
        self.published: list[tuple[str, bytes]] = []
        self.silent: set[type[Frame]] = set()
        self.numbers = ChannelNumbers(10)
        self._message_id = ""

    # The part of a link.

    @property
    def alive(self) -> bool:
        return not self.plane.lost.done()

    async def hot_channel(
        self, receive: Callable[[Event], None], on_gone: Callable[[ChannelGone], None] = lambda gone: None
    ) -> HotChannel:
        channel = HotChannel(self.plane, self.numbers.take(), receive=receive, on_gone=on_gone, free=self.numbers.free)
        await channel.open()
        return channel

    @property
    def link(self) -> Link:
        return cast("Link", self)

    # The part of a broker.

    def read(self, data: bytes) -> None:
        """Take what the plane wrote: whole frames only."""
        while data:
            size, channel, got = frame.unmarshal(data)
            data = data[size:]
            match got:
                case ContentHeader():
                    self._message_id = got.properties.message_id or ""
                    if not got.body_size:
                        self.published.append((self._message_id, b""))
                case ContentBody():
                    self.published.append((self._message_id, got.value))
                case Frame():
                    self.frames.append((channel, got))
                    answer = ANSWERS.get(type(got))
                    if answer is not None and type(got) not in self.silent:
                        asyncio.get_running_loop().call_soon(partial(self.say, answer(got), channel=channel))

    def say(self, *frames: Sent, channel: int = 1) -> None:
        """Send frames in one piece."""
        self.plane.data_received(b"".join(frame.marshal(each, channel) for each in frames))

    def deliver(self, tag: int, body: bytes, *, redelivered: bool = False, **headers: Any) -> None:
        """Hand out a message; ``_`` in a header's name stands for ``-``."""
        self.say(*delivery(tag, body, redelivered=redelivered, **headers))

    def send_back(self, message_id: str) -> None:
        """Return a publish that no queue took."""
        properties = commands.Basic.Properties(message_id=message_id)
        self.say(commands.Basic.Return(312, "NO_ROUTE", "", "x"), ContentHeader(0, 1, properties), ContentBody(b"x"))

    def break_off(self, reason: str = "the line is cut") -> None:
        """End the connection."""
        self.plane.abort(reason)

    # Looking.

    def of(self, *kinds: type[Frame]) -> list[Any]:
        """Return the methods of some kinds that it got, in order."""
        return [got for _, got in self.frames if isinstance(got, kinds)]

    async def until_got(self, kind: type[Frame], count: int = 1) -> None:
        """Wait until it got so many methods of a kind."""
        await until(lambda: len(self.of(kind)) >= count)

    async def until_published(self, count: int) -> None:
        """Wait until it got so many messages."""
        await until(lambda: len(self.published) >= count)
