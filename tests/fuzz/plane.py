"""The data plane fed with what no good broker sends: tables, content headers, and streams cut into pieces.

What has to hold: nothing but `ProtocolViolation` comes out of reading, nothing but `Unencodable` out of writing; what
was read is written again as something that reads the same; what is remembered of one message changes nothing about the
next; the way that takes whole deliveries says the same as the one that goes frame by frame, wherever the stream is cut;
and whatever a broker sends, a plane with channels survives it or gives the connection up, and writes whole frames only.
Where pamqp reads something without an error, it reads the same.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from random import Random
from struct import pack
from typing import Any

import pamqp.decode
import pamqp.frame
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from taskq.broker.amqp.plane.channel import FRAME_HEAD, ChannelState
from taskq.broker.amqp.plane.commands import publish
from taskq.broker.amqp.plane.events import Delivered, Event
from taskq.broker.amqp.plane.faults import ChannelGone, ProtocolViolation, Unencodable
from taskq.broker.amqp.plane.jobtables import encode_headers
from taskq.broker.amqp.plane.properties import decode_content, encode_content
from taskq.broker.amqp.plane.rawtext import RawText
from taskq.broker.amqp.plane.splitter import Splitter
from taskq.broker.amqp.plane.tables import Seconds, decode_table, encode_table
from taskq.broker.amqp.received import received
from taskq.wire.message import Message
from tests.fuzz import inputs
from tests.fuzz.engine import Case, Fuzzer, smaller_bytes
from tests.support.amqppeer import Peer

HOT, OTHER, COLD = 1, 2, 3
FRAME_MAX = 131_072
GOOD = inputs.fields(
    [
        (b"taskq-version", b"l" + pack(">q", 1)),
        (b"taskq-attempt", b"l" + pack(">q", 1)),
        (b"taskq-execution", b"l" + pack(">q", 1)),
        (b"taskq-queue", b"S" + pack(">I", 7) + b"default"),
        (b"taskq-enqueued-at", b"l" + pack(">q", 1_763_933_973_204)),
    ]
)
GOOD_READ = {
    "taskq-version": 1,
    "taskq-attempt": 1,
    "taskq-execution": 1,
    "taskq-queue": "default",
    "taskq-enqueued-at": 1_763_933_973_204,
}


ONLY_HEADERS = pack(">HHQH", 60, 0, 0, 1 << 13)  # a content header that has nothing else, up to its headers


class PlaneFuzzer(Fuzzer):
    """See the module."""

    def draw(self, rng: Random) -> Case:
        """Return an input; its data are bytes, for streams with the places where they are cut."""
        match rng.randrange(10):
            case 0:
                return _case("table", _table(rng))
            case 1 | 2:
                return _case("headers", _table(rng))
            case 3 | 4:
                data = inputs.content(rng, 3)
                return _case("content", inputs.spoiled(rng, data, inputs.table(rng)) if rng.random() < 0.6 else data)
            case 5:
                return _case(
                    "publish",
                    pack(">HH", rng.choice((0, 1, 4096, 65_535)), rng.randrange(3000)) + inputs.content(rng, 3),
                )
            case 6 | 7 | 8:
                data = stream(rng)
                return Case("stream", tuple(inputs.pieces(rng, data)), len(data))
            case _:
                data = stream(rng)
                return Case("channels", tuple(inputs.pieces(rng, data)), len(data))

    def check(self, case: Case) -> None:
        """Raise when a property does not hold."""
        CHECKS[case.kind](case.data)

    def smaller(self, case: Case) -> Iterator[Case]:
        """Yield the input with fewer cuts, and with fewer bytes."""
        if isinstance(case.data, bytes):
            for data in smaller_bytes(case.data):
                yield _case(case.kind, data)
            return
        whole = b"".join(case.data)
        if len(case.data) > 1:
            yield Case(case.kind, (whole,), len(whole))
            for at in range(len(case.data) - 1):
                joined = (*case.data[:at], case.data[at] + case.data[at + 1], *case.data[at + 2 :])
                yield Case(case.kind, joined, len(whole))
        for at, piece in enumerate(case.data):
            for data in smaller_bytes(piece):
                yield Case(case.kind, (*case.data[:at], data, *case.data[at + 1 :]), len(whole))


def _case(kind: str, data: bytes) -> Case:
    return Case(kind, data, len(data))


def _table(rng: Random) -> bytes:
    data = inputs.table(rng)
    return inputs.spoiled(rng, data, inputs.table(rng)) if rng.random() < 0.6 else data


# Tables and content headers.


def _read(what: Any, *arguments: Any) -> Any:
    """Return what reading comes to, or `ProtocolViolation`; anything else that is raised is a finding."""
    try:
        return what(*arguments)
    except ProtocolViolation:
        return ProtocolViolation


def check_table(data: bytes) -> None:
    """A table reads as a table, or not at all; what was read is written as the same."""
    read = _read(decode_table, data, 0)
    if read is not ProtocolViolation:
        table, end = read
        assert end <= len(data)
        written = encode_table(table)
        again, _ = decode_table(written)
        assert plain(again) == plain(table), (again, table)
        assert encode_table(again) == written
        _ask_pamqp(data, table)


def check_headers(data: bytes) -> None:
    """The way over what is remembered says the same as the plain one, the first time and the second, both ways."""
    expected = _read(decode_table, data, 0)
    for _ in range(2):
        got = _read(decode_content, ONLY_HEADERS + data, b"")
        headers = got if got is ProtocolViolation else (got.headers, expected[1])
        assert plain(headers) == plain(expected), (headers, expected)
    if expected is not ProtocolViolation:
        table = expected[0]
        assert list(got.headers) == list(table), "in the same order"
        assert encode_headers(table) == encode_table(table)
        got.headers["changed"] = "by who got it"
    assert decode_content(ONLY_HEADERS + GOOD, b"").headers == GOOD_READ
    assert encode_headers(GOOD_READ) == GOOD


def check_content(data: bytes) -> None:
    """A content header reads as a message, or not at all; what was read is written as the same."""
    message = _read(decode_content, data, b"abc")
    received(_delivered(data))  # never raises
    if message is ProtocolViolation:
        return
    written = encode_content(message)
    again = decode_content(written, b"abc")
    assert plain(again) == plain(message), (again, message)
    assert encode_content(again) == written
    _compare_properties(data, message)


def _delivered(content: bytes) -> Any:
    return Delivered(1, True, content, b"abc", "exchange", "key")


def _ask_pamqp(data: bytes, table: dict[str, object]) -> None:
    """Where the oracle reads the table, it reads what we read; its own ways with instants and decimals aside."""
    try:
        _, theirs = pamqp.decode.field_table(data)
    except (ValueError, OverflowError, OSError, RecursionError, TypeError, ArithmeticError):
        return
    assert shape(theirs) == shape(table), (theirs, table)


def _compare_properties(data: bytes, message: Message) -> None:
    header = ContentHeader()
    try:
        header.unmarshal(data)
    except Exception:  # the oracle refuses more than we do, each in its own way
        return
    theirs = header.properties
    for name in ("content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "app_id", "priority"):
        assert (getattr(theirs, name) or None) == (getattr(message, name) or None), name
    assert (theirs.message_type or None) == (message.type or None)
    assert shape(theirs.headers or {}) == shape(message.headers)


def shape(value: Any) -> Any:
    """Return a value as it can be compared with the oracle's, which has ways of its own with some types."""
    if isinstance(value, dict):
        return {str(name): shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value]
    if isinstance(value, datetime | Decimal | Seconds | float) or value is None:
        return "…"
    return bytes(value) if isinstance(value, bytearray) else value


def plain(value: Any) -> Any:
    """Return a value so that what is not the same compares as different, and NaN as itself."""
    match value:
        case RawText():
            return "raw", value.raw
        case dict():
            return [(plain(name), plain(part)) for name, part in value.items()]
        case list() | tuple():
            return [plain(part) for part in value]
        case float() if math.isnan(value):
            return "nan"
        case Decimal():
            return "decimal", value
        case _ if value is ProtocolViolation:
            return value
        case _:
            return type(value).__name__, value


def check_publish(data: bytes) -> None:
    """A message is written as frames that are read again, none above the largest; or refused as one that cannot be."""
    frame_max, size = int.from_bytes(data[:2]) * 16, int.from_bytes(data[2:4])
    message = _read(decode_content, data[4:], b"b" * size)
    if message is ProtocolViolation:
        return
    content = encode_content(message)
    try:
        written = publish(HOT, "", message.reply_to or "", content, message.body, mandatory=True, frame_max=frame_max)
    except Unencodable:
        assert len(content) > frame_max - 8 > 0 or len((message.reply_to or "").encode()) > 255
        return
    sizes, got = [], b""
    while written:
        (length,) = FRAME_HEAD.unpack_from(written)[2:]
        sizes.append(length + 8)
        assert written[length + 7] == 0xCE
        if written[0] == 3:
            got += written[7 : length + 7]
        elif written[0] == 2:
            assert written[7 : length + 7] == content
        written = written[length + 8 :]
    assert got == message.body
    assert not frame_max or max(sizes[1:]) <= frame_max, sizes


# Streams.


def stream(rng: Random) -> bytes:
    """Return frames of a broker, most of them good, some spoiled, some in the wrong place."""
    frames = [part for _ in range(rng.choice((1, 3, 10, 40))) for part in _said(rng)]
    if rng.random() < 0.3:
        at = rng.randrange(len(frames))
        frames[at] = inputs.spoiled(rng, frames[at], b"".join(_said(rng)))
    if rng.random() < 0.15:
        rng.shuffle(frames)
    data = b"".join(frames)
    return inputs.spoiled(rng, data) if rng.random() < 0.15 else data


def frame(kind: int, number: int, payload: bytes) -> bytes:
    """Return a frame."""
    return FRAME_HEAD.pack(kind, number, len(payload)) + payload + b"\xce"


def _said(rng: Random) -> list[bytes]:
    """Return the frames of one thing that a broker says."""
    number = rng.choice((HOT, HOT, HOT, OTHER, COLD, 0))
    match rng.randrange(14):
        case 0 | 1 | 2 | 3 | 4:
            return _message(rng, number, _deliver(rng))
        case 5:
            code = b"\x00\x3c\x00\x32" + pack(">H", 312) + inputs.short(inputs.short_text(rng))
            return _message(rng, number, code + inputs.short(b"") + inputs.short(inputs.short_text(rng)))
        case 6:
            got = b"\x00\x3c\x00\x47" + pack(">QB", 1, rng.randrange(2)) + inputs.short(b"e") + inputs.short(b"k")
            return _message(rng, number, got + pack(">I", rng.choice((0, 7, 2**32 - 1))))
        case 7:
            method = rng.choice((b"\x00\x3c\x00\x50", b"\x00\x3c\x00\x78"))
            return [frame(1, number, method + pack(">QB", rng.choice((0, 1, 5, 2**63, 2**64 - 1)), rng.randrange(256)))]
        case 8:
            return [pamqp.frame.marshal(rng.choice(ANSWERS), number)]
        case 9:
            return [frame(8, 0, b"")]
        case 10:
            reason = inputs.short(inputs.short_text(rng))
            return [frame(1, 0, rng.choice((b"\x00\x0a\x00\x3c" + reason, b"\x00\x0a\x00\x3d", b"\x00\x0a\x00\x3c")))]
        case 11:
            table = inputs.table(rng) if rng.random() < 0.7 else inputs.nested(rng, 0)[1:]
            declare = b"\x00\x32\x00\x0a\x00\x00" + inputs.short(b"q") + b"\x00" + table
            return [frame(1, number, rng.choice((declare, b"\x00\x0a\x00\x0a\x00\x09" + table + pack(">II", 0, 0))))]
        case 12:
            method = pack(
                ">HH", rng.choice((10, 20, 40, 50, 60, 85, 90, 0, 65_535)), rng.choice((10, 11, 20, 40, 60, 80, 120))
            )
            return [frame(1, number, method + rng.randbytes(rng.choice((0, 1, 8, 40))))]
        case _:
            return [frame(rng.choice((0, 1, 2, 3, 4, 8, 255)), number, rng.randbytes(rng.choice((0, 1, 14, 100))))]


ANSWERS = (
    commands.Channel.Close(406, "PRECONDITION_FAILED - unknown delivery tag 7", 60, 80),
    commands.Channel.CloseOk(),
    commands.Channel.OpenOk(),
    commands.Channel.Flow(True),
    commands.Basic.Cancel("1", True),
    commands.Basic.CancelOk("1"),
    commands.Basic.ConsumeOk("1"),
    commands.Basic.GetEmpty(),
    commands.Basic.QosOk(),
    commands.Queue.DeclareOk("q", 1, 2),
    commands.Connection.Close(320, "CONNECTION_FORCED - bye", 0, 0),
)


def _deliver(rng: Random) -> bytes:
    exchange, key = (b"", b"default") if rng.random() < 0.6 else (inputs.short_text(rng), inputs.short_text(rng))
    tag = pack(">QB", rng.choice((1, 2, 3, 2**63, 2**64 - 1)), rng.choice((0, 1, 255)))
    return (
        b"\x00\x3c\x00\x3c"
        + inputs.short(rng.choice((b"1", b"", b"t" * 255)))
        + tag
        + inputs.short(exchange)
        + inputs.short(key)
    )


def _message(rng: Random, number: int, method: bytes) -> list[bytes]:
    body = rng.randbytes(rng.choice((0, 1, 13, 300, 5000)))
    size = len(body) if rng.random() < 0.93 else rng.choice((0, len(body) + 1, 2**31, 2**64 - 1))
    header = inputs.content(rng, size)
    if rng.random() < 0.08:
        header = header[: rng.randrange(15)]
    bodies = [body] if rng.random() < 0.7 else inputs.pieces(rng, body)
    frames = [frame(1, number, method), frame(2, number, header)]
    return frames + [frame(3, number, part) for part in bodies if part or rng.random() < 0.1]


class Reader:
    """A splitter with two hot channels, and all that it has said."""

    def __init__(self) -> None:
        self.said: list[object] = []
        self.splitter = Splitter(self._blocked, self._closed)
        self.splitter.tune(FRAME_MAX)
        self.states = {number: ChannelState(number) for number in (HOT, OTHER)}
        self.splitter.channels.update(self.states)
        self.cold = b""
        self.violation: str | None = None

    def _blocked(self, reason: str | None) -> None:
        self.said.append(("blocked", reason))

    def _closed(self, text: str) -> None:
        self.said.append(("closed", text))

    def feed(self, data: bytes) -> None:
        """Take a piece, unless the connection has ended."""
        if self.violation is None:
            try:
                self.cold += self.splitter.feed(data)
            except ProtocolViolation as error:
                self.violation = re.sub("0x[0-9a-f]+", "", str(error))  # pamqp tells where its objects are

    def events(self, number: int) -> list[Event]:
        """Return what a channel has said."""
        return self.states[number].events

    def whole(self) -> tuple[object, ...]:
        """Return all of it, to be compared; answers by what they say."""
        answers = [[_told(event) for event in self.events(number)] for number in (HOT, OTHER)]
        return (*answers, self.said)


def _told(event: Event) -> object:
    frame = getattr(event, "frame", None)
    return (type(event).__name__, frame.name, repr(frame.__dict__)) if frame is not None else event


def check_stream(cut: tuple[bytes, ...]) -> None:
    """Cut or not, whole deliveries or frame by frame: the same."""
    data = b"".join(cut)
    whole, pieces, slow = Reader(), Reader(), Reader()
    whole.feed(data)
    for piece in cut:
        pieces.feed(piece)
    if not data.startswith(b"AMQP"):
        for piece in _frames(data):
            slow.feed(piece)
        _agree(whole, slow)
    _agree(whole, pieces)


def _agree(whole: Reader, pieces: Reader) -> None:
    # A frame that is refused for what its head says is refused before it is there; all at once, it is read. And a head
    # is looked at with one byte more or without, as it comes.
    for one, other in ((whole, pieces), (pieces, whole)):
        if one.violation != other.violation and (other.violation or "").startswith("a frame of type"):
            for number in (HOT, OTHER):
                told = [_told(event) for event in other.events(number)]
                assert [_told(event) for event in one.events(number)][: len(told)] == told
            return
    assert pieces.violation == whole.violation, (pieces.violation, whole.violation)
    assert pieces.whole() == whole.whole()
    if whole.violation is None:  # else what was not given away yet is of no use to anybody
        assert pieces.cold == whole.cold


def _frames(data: bytes) -> Iterator[bytes]:
    """Yield the frames of a stream, the last piece as it is."""
    at = 0
    while len(data) - at >= 7:
        end = at + 8 + FRAME_HEAD.unpack_from(data, at)[2]
        if end > len(data):
            break
        yield data[at:end]
        at = end
    yield data[at:]


def check_channels(cut: tuple[bytes, ...]) -> None:
    """A plane with two channels whose owners wait for answers takes it or ends the connection; it writes frames."""
    asyncio.run(_through_channels(cut))


async def _through_channels(cut: tuple[bytes, ...]) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
    peer = Peer()  # it reads what the plane writes, and knows whole frames only
    got: list[Event] = []
    gone: list[ChannelGone] = []
    first = await peer.hot_channel(got.append, gone.append)
    second = await peer.hot_channel(got.append, gone.append)
    peer.silent.add(commands.Queue.Declare)
    waits = [channel.ask(commands.Queue.Declare(queue="q")) for channel in (first, second)]
    for piece in cut:
        if peer.alive:
            peer.plane.data_received(piece)
    await asyncio.sleep(0)
    if peer.alive and second.gone is None and not second.over and not peer.plane._splitter._rest:
        before = len(got)
        if second.state._half is None:
            peer.say(commands.Basic.Deliver("1", 9, False, "", "q"), ContentHeader(0, 1), ContentBody(b"x"), channel=2)
            assert len(got) == before + 1, "what follows is read"
    if peer.alive:
        peer.break_off()
    await asyncio.sleep(0)
    assert len(gone) == 2, "both owners are told of the end, once"
    assert all(wait.done() for wait in waits)
    for wait in waits:
        wait.exception()
    assert not faults, faults


CHECKS: dict[str, Any] = {
    "table": check_table,
    "headers": check_headers,
    "content": check_content,
    "publish": check_publish,
    "stream": check_stream,
    "channels": check_channels,
}
