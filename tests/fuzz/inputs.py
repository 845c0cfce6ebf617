"""What inputs are made of: valid pieces of AMQP and JSON, odd ones, and ways to spoil them."""

from __future__ import annotations

import json
from random import Random
from struct import pack

NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, -(2**63))
INSTANTS = (0, 1, 1_763_933_973, 1_763_933_973_204, 253_402_300_799, 253_402_300_800, 253_402_300_799_999, 2**62)
ODD_TEXTS = (
    "",
    "a",
    "\0",
    "\n",
    "\r\n",
    "\x1b[2J\x1b[31mred",
    "\x9b31m",
    "\u202e\u2066gnp.exe",
    "\u2028\u2029\x85\x0b\x0c",
    "grüße",
    "\U0001f600" * 3,
    "\ufeff",
    "x" * 255,
    "é" * 127,
    "nan",
    "2025-01-01T00:00:00Z\nERROR forged",
    "taskq.reply.somebody",
    "amq.rabbitmq.reply-to",
    "result",
    "error",
)
TEXTS_OF_JSON_ONLY = ("\ud800", "a\udfffb", "x" * 70_000)
HEADER_NAMES = (
    "taskq-version",
    "taskq-attempt",
    "taskq-execution",
    "taskq-queue",
    "taskq-enqueued-at",
    "taskq-deadline",
    "taskq-eta",
    "taskq-error",
    "taskq-job-id",
    "taskq-exchange",
    "taskq-key",
    "taskq-dead-reason",
    "taskq-dead-at",
    "taskq-error-type",
    "taskq-error-message",
    "taskq-error-traceback",
    "taskq-redeliveries",
    "taskq-not-before",
    "traceparent",
    "x-death",
    "x-delivery-count",
    "x-first-death-queue",
    "CC",
    "BCC",
    "mine",
    "",
)


# Spoiling.


def spoiled(rng: Random, data: bytes, others: bytes = b"") -> bytes:
    """Return ``data`` after a few mutations; ``others`` is what may be spliced in."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        data = _spoil(rng, data, others)
    return data


def _spoil(rng: Random, data: bytes, others: bytes) -> bytes:
    if not data:
        return rng.randbytes(rng.randrange(1, 20))
    at = rng.randrange(len(data))
    to = min(len(data), at + rng.choice((1, 2, 4, 8, 64)))
    match rng.randrange(9):
        case 0:
            return data[:at] + bytes((data[at] ^ (1 << rng.randrange(8)),)) + data[at + 1 :]
        case 1:
            return data[:at]
        case 2:
            return data[:to] + data[at:]
        case 3:
            return data[:at] + data[to:]
        case 4:
            piece = others or data
            start = rng.randrange(len(piece))
            return data[:at] + piece[start : start + rng.randrange(1, 200)] + data[at:]
        case 5:  # a length that lies
            return (
                data[:at] + pack(">I", rng.choice((0, 1, 0xFF, 0xFFFF, 2**31, 2**32 - 1, 2**32 - 8))) + data[at + 4 :]
            )
        case 6:
            return data[:at] + rng.choice((b"\x00", b"\xff", b"\xce", b"\x80")) + data[at + 1 :]
        case 7:
            return data[:at] + rng.randbytes(to - at) + data[to:]
        case _:
            return data + rng.randbytes(rng.randrange(1, 40))


def pieces(rng: Random, data: bytes) -> list[bytes]:
    """Return ``data`` cut at random: into bytes, into a few pieces, or not at all."""
    if not data:
        return [data]
    most = rng.choice((1, 2, 7, 64, 4096, len(data)))
    cut: list[bytes] = []
    at = 0
    while at < len(data):
        size = rng.randint(1, most)
        cut.append(data[at : at + size])
        at += size
    return cut


# AMQP, as bytes.


def short(data: bytes) -> bytes:
    """Return a short string, cut to what one can be."""
    return bytes((len(data[:255]),)) + data[:255]


def short_text(rng: Random) -> bytes:
    """Return the bytes of a name: mostly text, sometimes none."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.choice((1, 5, 255)))
    return rng.choice(ODD_TEXTS).encode()[:255]


def field(rng: Random, depth: int = 0) -> bytes:  # noqa: PLR0912  # one line for each type
    """Return a value of a field table with the letter of its type."""
    if depth < 40 and rng.random() < 0.15:
        return nested(rng, depth)
    number = rng.choice(NUMBERS)
    match rng.choice("tbBsuIilLfdDSxTV\0S S S l l"):
        case "t":
            return b"t" + bytes((rng.choice((0, 1, 2, 255)),))
        case "b" | "B" as kind:
            return kind.encode() + rng.randbytes(1)
        case "s" | "u" as kind:
            return kind.encode() + rng.randbytes(2)
        case "I" | "i" as kind:
            return kind.encode() + rng.randbytes(4)
        case "l" | "L" as kind:
            return kind.encode() + pack(">q", number)
        case "f":
            return b"f" + rng.choice((pack(">f", 0.5), b"\x7f\x80\0\0", b"\x7f\xc0\0\0", rng.randbytes(4)))
        case "d":
            return b"d" + rng.choice((pack(">d", 1e300), pack(">d", float("nan")), pack(">d", -0.0), rng.randbytes(8)))
        case "D":
            return b"D" + rng.randbytes(1) + rng.choice((rng.randbytes(4), b"\0\0\0\0"))
        case "S":
            text = short_text(rng) * rng.choice((1, 1, 1, 20))
            return b"S" + pack(">I", len(text)) + text
        case "x":
            return b"x" + pack(">I", 3) + rng.randbytes(3)
        case "T":
            return b"T" + pack(">Q", rng.choice((*INSTANTS, 2**64 - 1)))
        case _:
            return b"V"


def nested(rng: Random, depth: int) -> bytes:
    """Return a table or a list, sometimes of many levels."""
    if rng.random() < 0.2:
        inner = b"V"
        for _ in range(rng.choice((5, 31, 32, 33, 34, 100, 2000))):
            inner = b"A" + pack(">I", len(inner)) + inner if rng.random() < 0.5 else b"F" + fields([(b"k", inner)])
        return inner
    if rng.random() < 0.5:
        inner = b"".join(field(rng, depth + 8) for _ in range(rng.randrange(4)))
        return b"A" + pack(">I", len(inner)) + inner
    return b"F" + table(rng, depth + 8)


def fields(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Return a field table with its length."""
    joined = b"".join(short(name) + value for name, value in entries)
    return pack(">I", len(joined)) + joined


def table(rng: Random, depth: int = 0) -> bytes:
    """Return a field table, of the names of ours or of others."""
    if depth == 0 and rng.random() < 0.3:
        return job_table(rng)
    entries = []
    for _ in range(rng.choice((0, 1, 2, 5, 9))):
        name = rng.choice(HEADER_NAMES).encode() if rng.random() < 0.8 else short_text(rng)
        entries.append((name, field(rng, depth + 1)))
    return fields(entries)


def job_table(rng: Random) -> bytes:
    """Return the headers of a job, or something like them."""
    queue = rng.choice((b"default", b"images", short_text(rng)))
    entries = [
        (b"taskq-version", b"l" + pack(">q", 1)),
        (b"taskq-attempt", b"l" + pack(">q", rng.choice((1, 2)))),
        (b"taskq-execution", b"l" + pack(">q", 1)),
        (b"taskq-queue", b"S" + pack(">I", len(queue)) + queue),
        (b"taskq-enqueued-at", b"l" + pack(">q", rng.choice(INSTANTS))),
        (b"taskq-deadline", b"l" + pack(">q", rng.choice(INSTANTS))),
        (b"taskq-eta", b"l" + pack(">q", rng.choice(INSTANTS))),
    ]
    if rng.random() < 0.3:
        entries.append(rng.choice(entries))
    if rng.random() < 0.3:
        rng.shuffle(entries)
    return fields(entries[: rng.randint(4, len(entries))])


_PROPERTIES = (
    (1 << 15, "text"),
    (1 << 14, "text"),
    (1 << 13, "table"),
    (1 << 12, "octet"),
    (1 << 11, "octet"),
    (1 << 10, "text"),
    (1 << 9, "text"),
    (1 << 8, "text"),
    (1 << 7, "text"),
    (1 << 6, "time"),
    (1 << 5, "text"),
    (1 << 4, "text"),
    (1 << 3, "text"),
)


def content(rng: Random, size: int) -> bytes:
    """Return the payload of a content header for a body of ``size`` bytes."""
    flags, parts = 0, []
    for flag, kind in _PROPERTIES:
        if rng.random() < 0.5:
            continue
        flags |= flag
        match kind:
            case "text":
                parts.append(short(short_text(rng)))
            case "table":
                parts.append(table(rng))
            case "octet":
                parts.append(rng.randbytes(1))
            case _:
                parts.append(pack(">Q", rng.choice((*INSTANTS, 2**64 - 1))))
    if rng.random() < 0.03:
        flags |= rng.choice((1, 2, 4))
    return pack(">HHQH", 60, 0, size, flags) + b"".join(parts)


# JSON, as bytes.

SCALARS = (
    b"null",
    b"true",
    b"0",
    b"-0",
    b"1",
    b"-1",
    b"1.5",
    b"1e999",
    b"-1e-999",
    b"1e5",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"9" * 30,
    b"9" * 5000,
    b"9223372036854775808",
    b"253402300800",
    b"1e308",
    b"0.1e1",
    b'""',
    b'"a"',
    b'"\\u0000"',
    b'"\\ud800"',
    b'"\\ud83d\\ude00"',
    b'"\x1b[2J"',
    b'"\xff"',
    b'"2025-01-01T00:00:00Z"',
    b'"9999-12-31T23:59:59.999999Z"',
    b'"0001-01-01T00:00:00+23:59"',
    b'"P1D"',
    b'"P999999999D"',
    b'"P9999999999999999999Y"',
    b'"-PT0.0000001S"',
    b'"00000000-0000-0000-0000-000000000000"',
    b'"1e1000000000"',
    b'"NaN"',
    b'"sNaN"',
    b'"AAAA"',
    b'"=="',
    b'"a@b"',
)
NAMES = (b"a", b"b", b"n", b"s", b"when", b"how_long", b"uid", b"price", b"data", b"items", b"by_name", b"kind", b"m")


def json_value(rng: Random, depth: int = 0) -> bytes:
    """Return some JSON, or what looks like it."""
    choice = rng.random()
    if depth > 4 or choice < 0.6:
        return rng.choice(SCALARS)
    if choice < 0.62:
        levels = rng.choice((10, 150, 199, 200, 201, 255, 256, 1000, 20_000))
        opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
        return opening * levels + b"1" + (closing * levels if rng.random() < 0.7 else b"")
    if choice < 0.8:
        return b"[" + b",".join(json_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 5)))) + b"]"
    return json_object(rng, depth + 1)


def json_object(rng: Random, depth: int = 0) -> bytes:
    """Return an object with names of the tasks' parameters, some of them twice."""
    members = []
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
        name = rng.choice(NAMES) if rng.random() < 0.9 else json.dumps(rng.choice(ODD_TEXTS)).encode()[1:-1]
        members.append(b'"' + name + b'":' + json_value(rng, depth + 1))
    return b"{" + b",".join(members) + b"}"


def body(rng: Random) -> bytes:
    """Return the body of a message."""
    match rng.randrange(12):
        case 0:
            return rng.randbytes(rng.choice((0, 1, 10, 300)))
        case 1:
            return json_value(rng)
        case 2:
            return b"[" + b",".join([rng.choice(SCALARS)] * rng.choice((10, 2000))) + b"]"
        case 3:
            return b'{"items":[' + b",".join([rng.choice(SCALARS)] * rng.choice((10, 3000))) + b"]}"
        case 4:
            return rng.choice(
                (b"\xef\xbb\xbf{}", '{"a":1}'.encode("utf-16"), b"1],[1", b"1],", b" ", b"{}{}", b"\x1f\x8b\x08\0")
            )
        case 5:
            error = {
                "type": rng.choice(ODD_TEXTS),
                "message": rng.choice(ODD_TEXTS),
                "traceback": rng.choice(ODD_TEXTS),
            }
            return json.dumps(error).encode()
        case 6 | 7:
            return spoiled(rng, json_object(rng), json_value(rng))
        case _:
            return json_object(rng)
