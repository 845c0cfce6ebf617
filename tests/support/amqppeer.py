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
    commands.Basic.Get: lambda asked: commands.Basic.GetEmpty(),
    commands.Queue.Declare: lambda asked: commands.Queue.DeclareOk(asked.queue, 0, 0),
    commands.Queue.Bind: lambda asked: commands.Queue.BindOk(),
    commands.Queue.Delete: lambda asked: commands.Queue.DeleteOk(0),
    commands.Exchange.Declare: lambda asked: commands.Exchange.DeclareOk(),
}


Sent = Frame | ContentHeader | ContentBody | Heartbeat


def delivery(
    tag: int, body: bytes, *, redelivered: bool = False, exchange: str = "", key: str = "work", **headers: Any
) -> list[Sent]:
    """Return the frames of a delivery; ``_`` in a header's name stands for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    properties = commands.Basic.Properties(message_id=f"m{tag}", headers=named)
    method = commands.Basic.Deliver("1", tag, redelivered, exchange, key)
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

    ``silent``: the kinds of commands that it does not answer; ``mute`` says whether it does not answer a certain one.
    ``published``: the message ids and bodies it got, ``correlated``: their correlation ids.
    ``refuse`` says whether it closes the channel for a command, with which code and text; what comes behind that is
    ignored, as RabbitMQ does. A frame on a channel that is not open ends the connection.
    """

    def __init__(self) -> None:
        self.inner = Inner()
        self.transport = Transport(self)
        self.plane = Plane(self.inner, self.transport)
        self.plane.tune(131_072)
        self.frames: list[tuple[int, Frame]] = []
        self.published: list[tuple[str, bytes]] = []
        self.correlated: list[str] = []
        self.silent: set[type[Frame]] = set()
        self.mute: Callable[[Any], bool] = lambda asked: False
        self.refuse: Callable[[Any], tuple[int, str] | None] = lambda asked: None
        self.numbers = ChannelNumbers(10)
        self._open: dict[int, bool] = {}  # false: it has closed the channel, and waits for the answer
        self._message_id = ""

    # The part of a link.

    @property
    def alive(self) -> bool:
        return not self.plane.lost.done()

    async def hot_channel(
        self,
        receive: Callable[[Event], None] = lambda event: None,
        on_gone: Callable[[ChannelGone], None] = lambda gone: None,
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
                    self.correlated.append(got.properties.correlation_id or "")
                    if not got.body_size:
                        self.published.append((self._message_id, b""))
                case ContentBody():
                    self.published.append((self._message_id, got.value))
                case Frame():
                    self.frames.append((channel, got))
                    if self._is_heard(channel, got):
                        self._respond(channel, got)

    def _is_heard(self, channel: int, got: Frame) -> bool:
        if isinstance(got, commands.Channel.Open):
            self._open[channel] = True
            return True
        if channel not in self._open:
            self.break_off(f"504 CHANNEL_ERROR - expected 'channel.open' on {channel}, got {got.name}")
            return False
        heard = self._open[channel] or isinstance(got, commands.Channel.Close)
        if isinstance(got, commands.Channel.CloseOk) or (
            isinstance(got, commands.Channel.Close) and self._open[channel]
        ):
            del self._open[channel]
        return heard

    def _respond(self, channel: int, got: Frame) -> None:
        refusal = self.refuse(got)
        if refusal is not None:
            self._soon(channel, commands.Channel.Close(*refusal, 0, 0))
            self._open[channel] = False
            return
        answer = ANSWERS.get(type(got))
        if type(got) in self.silent or self.mute(got):
            return
        if answer is not None and not getattr(got, "nowait", False):
            self._soon(channel, answer(got))

    def _soon(self, channel: int, answer: Frame) -> None:
        asyncio.get_running_loop().call_soon(partial(self.say, answer, channel=channel))

    def say(self, *frames: Sent, channel: int = 1) -> None:
        """Send frames in one piece."""
        for each in frames:
            if isinstance(each, commands.Channel.Close) and channel in self._open:
                self._open[channel] = False
        self.plane.data_received(b"".join(frame.marshal(each, channel) for each in frames))

    def deliver(self, tag: int, body: bytes, **told: Any) -> None:
        """Hand out a message, see :func:`delivery`."""
        self.say(*delivery(tag, body, **told))

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
