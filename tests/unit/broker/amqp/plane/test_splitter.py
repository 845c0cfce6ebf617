"""The byte stream: the same events and the same cold frames, wherever the bytes are cut."""

from __future__ import annotations

import itertools
import time

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from taskq.broker.amqp.plane.channel import ChannelState
from taskq.broker.amqp.plane.commands import ack, command, publish
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
from taskq.broker.amqp.plane.faults import ProtocolViolation, Unencodable
from taskq.broker.amqp.plane.properties import decode_content, encode_content
from taskq.broker.amqp.plane.splitter import Splitter
from taskq.wire.message import Message

HOT, OTHER_HOT, COLD = 5, 6, 7


def content(size: int, message_id: str = "m") -> bytes:
    properties = commands.Basic.Properties(message_id=message_id, delivery_mode=2)
    return pamqp.frame.marshal(ContentHeader(body_size=size, properties=properties), HOT)[7:-1]


def message(method: commands.Frame, *bodies: bytes, number: int = HOT) -> list[bytes]:
    """Return the frames of a message as the oracle writes them."""
    header = ContentHeader(
        body_size=sum(map(len, bodies)), properties=commands.Basic.Properties(message_id="m", delivery_mode=2)
    )
    frames = [method, header, *map(ContentBody, bodies)]
    return [pamqp.frame.marshal(frame, number) for frame in frames]


def deliver(
    tag: int, *bodies: bytes, number: int = HOT, redelivered: bool = False, exchange: str = "", key: str = "work"
) -> list[bytes]:
    return message(commands.Basic.Deliver("tag", tag, redelivered, exchange, key), *bodies, number=number)


CLOSE = commands.Channel.Close(404, "NOT_FOUND - no queue", 60, 40)
COLD_FRAMES = [
    pamqp.frame.marshal(Heartbeat(), 0),
    pamqp.frame.marshal(commands.Queue.DeclareOk("q", 1, 2), COLD),
    *deliver(9, b"cold", number=COLD),
    pamqp.frame.marshal(commands.Connection.Blocked("low on disk"), 0),
    pamqp.frame.marshal(commands.Connection.Unblocked(), 0),
]
PARTS = [
    [COLD_FRAMES[0]],
    deliver(1, b"one"),
    [COLD_FRAMES[1]],
    [command(HOT, commands.Basic.Ack(7, True)), command(HOT, commands.Basic.Nack(8, False, False))],
    deliver(2),
    COLD_FRAMES[2:5],
    deliver(3, b"a" * 40, b"b" * 40, b"c", redelivered=True),
    deliver(5, b"news", redelivered=True, exchange="logs", key="straße.a"),
    deliver(6, b"news", exchange="logs", key=""),
    message(commands.Basic.Return(312, "NO_ROUTE", "", "nowhere"), b"lost"),
    [COLD_FRAMES[5]],
    message(commands.Basic.GetOk(4, True, "", "work", 3), b"got"),
    message(commands.Basic.GetOk(5, False, "logs", "a.b", 2), b"got"),
    [command(HOT, commands.Basic.Cancel("tag", True)), command(HOT, commands.Basic.QosOk())],
    [COLD_FRAMES[6], command(HOT, CLOSE)],
]
STREAM = b"".join(frame for part in PARTS for frame in part)
EVENTS: list[Event] = [
    Delivered(1, False, content(3), b"one"),
    Confirmed(7, True, True),
    Confirmed(8, False, False),
    Delivered(2, False, content(0), b""),
    Delivered(3, True, content(81), b"a" * 40 + b"b" * 40 + b"c"),
    Delivered(5, True, content(4), b"news", "logs", "straße.a"),
    Delivered(6, False, content(4), b"news", "logs", ""),
    Returned(312, "NO_ROUTE", content(4), b"lost"),
    Got(4, True, 3, content(3), b"got"),
    Got(5, False, 2, content(3), b"got", "logs", "a.b"),
    Cancelled("tag"),
    Closed(404, "NOT_FOUND - no queue"),
]


class Fed:
    """A splitter with hot channels, and all that came out of it."""

    def __init__(self) -> None:
        self.alarms: list[str | None] = []
        self.closes: list[str] = []
        self.splitter = Splitter(self.alarms.append, self.closes.append)
        self.hot = ChannelState(HOT)
        self.splitter.channels[HOT] = self.hot
        self.cold = b""

    def feed(self, *pieces: bytes) -> Fed:
        for piece in pieces:
            self.cold += self.splitter.feed(piece)
        return self

    @property
    def events(self) -> list[Event]:
        return [event for event in self.hot.events if not isinstance(event, Answered)]


def check(fed: Fed) -> None:
    assert fed.events == EVENTS
    assert [type(e.frame) for e in fed.hot.events if isinstance(e, Answered)] == [commands.Basic.QosOk]
    assert fed.cold == b"".join(COLD_FRAMES)
    assert fed.alarms == ["low on disk", None]


def test_the_stream_in_one_piece() -> None:
    check(Fed().feed(STREAM))


def test_the_stream_cut_at_every_single_place() -> None:
    for at in range(1, len(STREAM)):
        check(Fed().feed(STREAM[:at], STREAM[at:]))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 64])
def test_the_stream_in_pieces_of_one_size(size: int) -> None:
    check(Fed().feed(*[STREAM[at : at + size] for at in range(0, len(STREAM), size)]))


@given(st.lists(st.integers(0, len(STREAM)), max_size=30).map(sorted))
def test_the_stream_cut_anywhere(cuts: list[int]) -> None:
    bounds = [0, *cuts, len(STREAM)]
    check(Fed().feed(*[STREAM[a:b] for a, b in itertools.pairwise(bounds)]))


@given(
    st.lists(
        st.sampled_from(
            [
                deliver(1, b"body"),
                deliver(2, b"body", redelivered=True, exchange="logs", key="info.π"),
                deliver(3),
                deliver(4, b"two", b"parts"),
                deliver(5, b"other", number=OTHER_HOT),
                [pamqp.frame.marshal(Heartbeat(), 0)],
            ]
        ),
        max_size=6,
    ),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=3),
    st.booleans(),
)
def test_a_delivery_in_one_piece_says_the_same_as_frame_by_frame(
    messages: list[list[bytes]], faults: list[tuple[int, int]], swapped: bool
) -> None:
    frames = [frame for each in messages for frame in each]
    if swapped:
        frames[1:3] = reversed(frames[1:3])
    stream = bytearray(b"".join(frames))
    for at, value in faults if stream else ():
        stream[at % len(stream)] = value
    assert outcome([bytes(stream)]) == outcome([bytes(stream[at : at + 1]) for at in range(len(stream))])


def outcome(pieces: list[bytes]) -> tuple[list[Event], list[Event], bytes | None]:
    """Return the events on two channels, and the cold frames, or ``None`` when the stream is a violation."""
    fed, other = Fed(), Fed()
    fed.splitter.channels[OTHER_HOT] = other.hot = ChannelState(OTHER_HOT)
    try:
        fed.feed(*pieces)
    except ProtocolViolation:
        return fed.events, other.events, None
    return fed.events, other.events, fed.cold


def test_messages_of_two_channels_may_be_interleaved() -> None:
    fed = Fed()
    other = ChannelState(OTHER_HOT)
    fed.splitter.channels[OTHER_HOT] = other
    mine, theirs = deliver(1, b"a", b"b"), deliver(1, b"x", b"y", number=OTHER_HOT)
    fed.feed(b"".join(frame for pair in zip(mine, theirs, strict=True) for frame in pair))
    assert [event.body for event in fed.events if isinstance(event, Delivered)] == [b"ab"]
    assert [event.body for event in other.events if isinstance(event, Delivered)] == [b"xy"]


@pytest.mark.alone
def test_a_large_message_costs_its_size_once_however_it_is_cut() -> None:
    def seconds(megabytes: int) -> float:
        part = bytes(131_064)
        stream = b"".join(deliver(1, *[part] * (megabytes * 8)))
        fed, began = Fed(), time.process_time()
        for at in range(0, len(stream), 1_000):
            fed.feed(stream[at : at + 1_000])
        spent = time.process_time() - began
        (event,) = fed.events
        assert isinstance(event, Delivered)
        assert len(event.body) == len(part) * megabytes * 8
        return spent

    small, large = (min(seconds(megabytes) for _ in range(3)) for megabytes in (16, 64))
    assert large < 4 * small * 2.5, "4 times the bytes; 2.5 times as much is noise, and a square is 4 times as much"


@pytest.mark.parametrize(
    "stream",
    [
        deliver(1, b"x")[0][:-1] + b"\x00",
        b"\x01\x00\x05\xff\xff\xff\xff",
        b"".join([deliver(1, b"x")[0], *deliver(2, b"x")]),
        deliver(1, b"x")[1],
        deliver(1, b"x")[0] + deliver(1, b"x")[1] + pamqp.frame.marshal(ContentBody(b"xy"), HOT),
        b"\x01\x00\x05\x00\x00\x00\x02\x00\x3c\xce",
        b"\x01\x00\x05\x00\x00\x00\x06\x00\x3c\x00\x3c\x01a\xce",
        b"\x01\x00\x05\x00\x00\x00\x11\x00\x3c\x00\x3c\x01a" + bytes(9) + b"\x01x\xce",
        b"\x09\x00\x05\x00\x00\x00\x00\xce",
        b"\x01\x00\x05\x00\x00\x00\x05\x00\x3c\x00\x64\x00\xce",
    ],
    ids=[
        "end octet",
        "size",
        "method in a message",
        "header alone",
        "too much body",
        "short",
        "cut",
        "no key",
        "type",
        "recover async",
    ],
)
def test_what_amqp_does_not_allow_is_a_violation(stream: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Fed().feed(stream)


def test_a_frame_above_what_was_agreed_on_is_a_violation() -> None:
    fed = Fed()
    fed.splitter.tune(4096)
    with pytest.raises(ProtocolViolation, match="bytes on channel"):
        fed.feed(b"\x01\x00\x05" + (4089).to_bytes(4, "big"))


def test_a_peer_of_another_protocol_is_passed_on_to_the_client() -> None:
    fed = Fed()
    assert fed.feed(b"AMQP\x00\x01\x00\x00").cold == b"AMQP\x00\x01\x00\x00"


@given(st.binary(max_size=200))
def test_rubbish_is_a_violation_or_waits(data: bytes) -> None:
    try:
        Fed().feed(data)
    except ProtocolViolation:
        pass


@given(st.binary(max_size=3_000), st.sampled_from([0, 1_024, 4_096]), st.booleans())
def test_the_oracle_reads_our_publishes(body: bytes, frame_max: int, mandatory: bool) -> None:
    sent = Message(body=body, message_id="m", headers={"a": 1})
    data = publish(HOT, "x", "key", encode_content(sent), body, mandatory=mandatory, frame_max=frame_max)
    frames = []
    while data:
        size, number, frame = pamqp.frame.unmarshal(data)
        assert number == HOT
        assert size <= (frame_max or len(data))
        frames.append(frame)
        data = data[size:]
    method, _, *bodies = frames
    assert isinstance(method, commands.Basic.Publish)
    assert (method.exchange, method.routing_key, method.mandatory) == ("x", "key", mandatory)
    assert b"".join(part.value for part in bodies if isinstance(part, ContentBody)) == body


def test_a_content_header_above_a_frame_is_refused_before_it_is_sent() -> None:
    sent = encode_content(Message(body=b"", message_id="m", headers={"a": "x" * 5_000}))
    with pytest.raises(Unencodable, match="5,0"):
        publish(HOT, "", "q", sent, b"", mandatory=True, frame_max=4096)


@given(st.integers(1, 65_535), st.integers(0, 2**63 - 1), st.booleans())
def test_the_oracle_packs_the_same_acks(number: int, tag: int, multiple: bool) -> None:
    assert ack(number, tag, multiple=multiple) == command(number, commands.Basic.Ack(tag, multiple))


def test_a_returned_message_can_be_told_by_its_id() -> None:
    fed = Fed().feed(*message(commands.Basic.Return(312, "NO_ROUTE", "", "nowhere"), b"lost"))
    (event,) = fed.events
    assert isinstance(event, Returned)
    assert decode_content(event.content, event.body).message_id == "m"
