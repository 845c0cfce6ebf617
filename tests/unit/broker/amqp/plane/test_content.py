"""Tables and properties: pamqp reads what we write, we read what pamqp writes, and both fail alike on rubbish."""

from __future__ import annotations

import datetime
from decimal import Decimal
from struct import pack
from typing import Any

import pamqp.decode
import pamqp.encode
import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.header import ContentHeader

from taskq.broker.amqp.plane import properties
from taskq.broker.amqp.plane.faults import ProtocolViolation, Unencodable
from taskq.broker.amqp.plane.properties import decode_content, encode_content
from taskq.broker.amqp.plane.tables import decode_table, encode_table
from taskq.wire import headers as h
from taskq.wire.message import Message

NAMES = st.text(max_size=25)
# Up to 2100: from 2106 on, the oracle takes seconds for milliseconds.
INSTANTS = st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(2100, 1, 1), timezones=st.just(datetime.UTC))
PLAIN = (
    st.text()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.none()
    | st.builds(lambda at: at.replace(microsecond=0), INSTANTS)
    | st.decimals(-100_000, 100_000, places=3)
)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=8)
SHORT = st.none() | st.text(max_size=60)
MESSAGES = st.builds(
    Message,
    body=st.binary(max_size=50),
    message_id=st.text(max_size=60),
    type=SHORT,
    correlation_id=SHORT,
    reply_to=SHORT,
    content_type=SHORT,
    content_encoding=SHORT,
    timestamp=st.none() | st.integers(0, 2**33),
    app_id=SHORT,
    priority=st.none() | st.integers(0, 255),
    headers=st.dictionaries(NAMES, PLAIN, max_size=4),
)


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_a_table_that_was_written_is_read_as_it_was(table: dict[str, Any]) -> None:
    written = encode_table(table)
    assert decode_table(written) == (table, len(written))


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_the_oracle_reads_our_tables(table: dict[str, Any]) -> None:
    written = encode_table(table)
    assert pamqp.decode.field_table(written) == (len(written), table)


@given(st.dictionaries(NAMES, st.text() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=6))
def test_we_read_the_tables_of_the_oracle_with_its_smaller_numbers(table: dict[str, Any]) -> None:
    written = pamqp.encode.field_table(table)
    assert decode_table(written) == (table, len(written))


def test_bytes_and_text_that_is_no_utf8_stay_bytes() -> None:
    written = encode_table({"raw": b"\xff\x00"})
    assert decode_table(written)[0] == {"raw": b"\xff\x00"}
    assert decode_table(written.replace(b"x", b"S"))[0] == {"raw": b"\xff\x00"}


def test_an_instant_that_no_datetime_can_hold_is_a_number() -> None:
    written = b"\x00\x00\x00\x0b\x01tT" + (1_700_000_000_000_000).to_bytes(8, "big")
    assert decode_table(written)[0] == {"t": 1_700_000_000_000_000}


@pytest.mark.parametrize("seconds", [0, 2**33, 2**63 - 1, 2**63, 2**64 - 1])
def test_every_instant_that_was_read_is_written_as_it_was(seconds: int) -> None:
    written = b"\x00\x00\x00\x0b\x01tT" + seconds.to_bytes(8, "big")
    assert encode_table(decode_table(written)[0]) == written
    in_list = b"\x00\x00\x00\x10\x01tA\x00\x00\x00\x09T" + seconds.to_bytes(8, "big")
    assert encode_table(decode_table(in_list)[0]) == in_list


def test_names_that_are_no_utf8_are_written_as_they_were() -> None:
    written = b"\x00\x00\x00\x0a" + b"\x01\xffV" + b"\x01\xfeV" + b"\x02\xff\xffV"
    table, _ = decode_table(written)
    assert len(table) == 3
    assert encode_table(table) == written


@given(st.binary(max_size=80))
def test_any_table_that_can_be_read_can_be_written_and_is_the_same(data: bytes) -> None:
    data = len(data).to_bytes(4, "big") + data
    try:
        table, _ = decode_table(data)
    except ProtocolViolation:
        return
    again = encode_table(table)
    assert encode_table(decode_table(again)[0]) == again


@given(st.binary(max_size=80))
def test_rubbish_is_a_violation_or_a_table_and_nothing_else(data: bytes) -> None:
    try:
        table, end = decode_table(data)
    except ProtocolViolation:
        return
    assert isinstance(table, dict)
    assert end <= len(data)


@pytest.mark.parametrize(
    "table",
    [
        {"n" * 256: 1},
        {"big": 2**63},
        {"thing": object()},
        {"d": Decimal("1e30")},
        {"d": Decimal("NaN")},
        {"f": float("nan")},
        {"f": float("-inf")},
        {"early": datetime.datetime(1969, 1, 1, tzinfo=datetime.UTC)},
        {"half": "\ud800"},
        {"\ud800": 1},
        {"in": {"half": "\ud800"}},
    ],
    ids=[
        "name",
        "number",
        "type",
        "decimal",
        "nan",
        "no number",
        "infinite",
        "before 1970",
        "surrogate",
        "name of a surrogate",
        "inside",
    ],
)
def test_what_amqp_cannot_carry_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(Unencodable):
        encode_table(table)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_float_that_rabbitmq_cannot_have_is_a_violation(value: float) -> None:
    with pytest.raises(ProtocolViolation, match="cannot have"):
        decode_table(pack(">IB1scd", 11, 1, b"f", b"d", value))


def test_a_table_of_tables_ends_at_a_depth_before_the_stack_does() -> None:
    table: dict[str, Any] = {}
    for _ in range(100):
        table = {"t": table}
    with pytest.raises(ProtocolViolation, match="nested"):
        decode_table(encode_table(table))


@given(MESSAGES)
def test_a_message_that_was_written_is_read_as_it_was(message: Message) -> None:
    assert decode_content(encode_content(message), message.body) == message


@given(MESSAGES)
def test_the_oracle_reads_our_content_header(message: Message) -> None:
    content = encode_content(message)
    header = ContentHeader()
    header.unmarshal(content)
    properties = header.properties
    assert header.body_size == len(message.body)
    assert properties.delivery_mode == 2
    assert properties.message_id == message.message_id
    for name in ("content_type", "content_encoding", "correlation_id", "reply_to", "app_id", "priority"):
        assert getattr(properties, name) == getattr(message, name), name
    assert properties.message_type == message.type
    assert (properties.headers or {}) == message.headers


def test_we_read_a_content_header_of_the_oracle_with_all_properties() -> None:
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    properties = commands.Basic.Properties(
        content_type="text/plain", content_encoding="gzip", headers={"a": "b"}, delivery_mode=2, priority=7,
        correlation_id="c", reply_to="r", expiration="1000", message_id="m", timestamp=at, message_type="t",
        user_id="u", app_id="app", cluster_id="",
    )  # fmt: skip
    frame = ContentHeader(body_size=4, properties=properties)
    content = pamqp.frame.marshal(frame, 1)[7:-1]
    expected = Message(
        body=b"body", message_id="m", type="t", correlation_id="c", reply_to="r", content_type="text/plain",
        content_encoding="gzip", timestamp=int(at.timestamp()), app_id="app", priority=7, headers={"a": "b"},
    )  # fmt: skip
    assert decode_content(content, b"body") == expected


@given(MESSAGES, st.data())
def test_a_content_header_that_was_cut_is_a_violation(message: Message, data: st.DataObject) -> None:
    content = encode_content(message)
    cut = data.draw(st.integers(0, len(content) - 1))
    try:
        read = decode_content(content[:cut], b"")
    except ProtocolViolation:
        return
    assert read != message._replace(body=b""), "a cut within the last text only shortens it"


@pytest.mark.parametrize("field", ["type", "correlation_id", "reply_to", "message_id"])
def test_a_property_above_255_bytes_is_refused(field: str) -> None:
    message = Message(body=b"", message_id="m")._replace(**{field: "x" * 256})
    with pytest.raises(Unencodable, match="256 bytes"):
        encode_content(message)


TEXTS = ("content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "type", "app_id")
BITS = {"content_type": 15, "content_encoding": 14, "correlation_id": 10, "reply_to": 9, "message_id": 7,
        "timestamp": 6, "type": 5, "app_id": 3}  # fmt: skip


@given(st.dictionaries(st.sampled_from(TEXTS), st.binary(max_size=255)), st.none() | st.integers(0, 2**64 - 1))
def test_properties_of_any_bytes_are_written_as_they_were(texts: dict[str, bytes], timestamp: int | None) -> None:
    fields = {name: bytes((len(data),)) + data for name, data in texts.items()}
    fields.setdefault("message_id", b"\x00")
    if timestamp is not None:
        fields["timestamp"] = timestamp.to_bytes(8, "big")
    flags = sum(1 << BITS[name] for name in fields) | 1 << 12
    parts = {BITS[name]: data for name, data in fields.items()} | {12: b"\x02"}
    content = (
        b"\x00\x3c\x00\x00"
        + bytes(8)
        + flags.to_bytes(2, "big")
        + b"".join(parts[bit] for bit in sorted(parts, reverse=True))
    )
    assert encode_content(decode_content(content, b"")) == content


@pytest.mark.parametrize("timestamp", [-1, 2**64, 1.5])
def test_a_timestamp_that_amqp_cannot_carry_is_refused(timestamp: Any) -> None:
    with pytest.raises(Unencodable, match="timestamp"):
        encode_content(Message(body=b"", message_id="m", timestamp=timestamp))


def test_a_priority_that_is_no_octet_is_refused() -> None:
    with pytest.raises(Unencodable, match="priority 256"):
        encode_content(Message(body=b"", message_id="m", priority=256))


@given(st.binary(max_size=255), st.integers(0, 2**64 - 1))
def test_whatever_a_foreign_program_sent_can_be_written_again(text: bytes, number: int) -> None:
    short = bytes((len(text),)) + text
    table = short + b"T" + number.to_bytes(8) + b"\x01k" + b"S" + len(text).to_bytes(4) + text
    flags = 0b1110_0110_1110_1000  # all texts, headers, the time
    properties = short * 2 + len(table).to_bytes(4) + table + short * 2 + short + number.to_bytes(8) + short * 2
    head = bytes((0, 60, 0, 0)) + bytes(8) + flags.to_bytes(2)
    message = decode_content(head + properties, b"")
    assert message.timestamp == number
    assert decode_content(encode_content(message), b"") == message


MARKER = b"\x11taskq-enqueued-atl"
OF_JOBS = st.dictionaries(
    st.sampled_from([h.VERSION, h.QUEUE, "own", h.DEADLINE]),
    st.integers(0, 9) | st.sampled_from(["", MARKER.decode(), MARKER.decode() + "12345678"]) | st.lists(st.just(1)),
)


def whatever_it_is(content: bytes) -> object:
    try:
        return decode_content(content, b"")
    except ProtocolViolation:
        return ProtocolViolation


@given(OF_JOBS, st.none() | st.sampled_from(["", MARKER.decode()]), st.integers(0, 2**63 - 1), st.booleans())
def test_content_like_one_before_is_read_as_if_it_were_the_first(
    table: dict[str, Any], kind: str | None, at: int, instant_last: bool
) -> None:
    table = {**table, h.ENQUEUED_AT: at} if instant_last else {h.VERSION: 1, h.ENQUEUED_AT: at, **table}
    content = encode_content(Message(b"", "m", type=kind, content_type=kind, correlation_id="c", headers=table))
    parts = [content[:end] for end in range(len(content) + 1)] + [content + MARKER, content[:40] + MARKER]
    properties._BEGINNINGS.clear()
    first = []
    for part in parts:
        first.append(whatever_it_is(part))
        properties._BEGINNINGS.clear()
    assert decode_content(content, b"").headers == table
    for part, before in zip(parts, first, strict=True):
        assert whatever_it_is(part) == before


def test_headers_of_a_message_may_be_changed_and_those_of_the_next_are_as_they_were_sent() -> None:
    content = encode_content(Message(b"", "m", headers={h.QUEUE: "work", "own": [1], h.ENQUEUED_AT: 5}))
    for _ in range(3):
        headers: Any = decode_content(content, b"").headers
        assert headers == {h.QUEUE: "work", "own": [1], h.ENQUEUED_AT: 5}
        headers["own"].append(2)
        headers["more"] = 1
        headers.pop(h.QUEUE)


def test_a_text_behind_the_headers_that_looks_like_more_of_them_is_a_text() -> None:
    text = b"!" + b"n" * 33 + b"V" + MARKER  # an entry without a value, and an instant
    text += b"." * (ord("V") - len(text))
    content = pack(">HHQH", 60, 0, 0, 1 << 13 | 1 << 10 | 1 << 9) + bytes(4) + b"\x01c" + bytes((len(text),)) + text
    for _ in range(2):
        message = decode_content(content, b"")
        assert (message.headers, message.correlation_id, message.reply_to) == ({}, "c", text.decode())


def test_of_many_different_beginnings_not_all_are_remembered() -> None:
    for number in range(3_000):
        decode_content(encode_content(Message(b"", "m", headers={"own": number, h.ENQUEUED_AT: 5})), b"")
    long = encode_content(Message(b"", "m", headers={"own": "x" * 600, h.ENQUEUED_AT: 5}))
    before = len(properties._BEGINNINGS)
    decode_content(long, b"")
    assert len(properties._BEGINNINGS) == before <= 1024
