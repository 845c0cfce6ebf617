"""Field tables: the headers of a message, to bytes and back (AMQP 0-9-1, 4.2.5.5, with RabbitMQ's own type letters).

What was read can be written again: a value keeps its Python type. Integers are written with 64 bits and floats with
double precision, as headers of this project are; who reads them gets the same number. A value that is no UTF-8 is kept
as bytes, a name as a :class:`~taskq.broker.amqp.plane.rawtext.RawText`, an instant that no datetime holds as
:class:`Seconds`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from struct import Struct
from struct import error as StructError
from typing import cast

from taskq.broker.amqp.plane.faults import ProtocolViolation, Unencodable
from taskq.broker.amqp.plane.rawtext import bytes_of, read_text

_LONGEST_NAME = 255
_DEEPEST = 32  # tables within tables; RabbitMQ itself sets no limit, Python's stack does

_UINT = Struct(">I")
_TEXT = Struct(">cI")
_LONG = Struct(">cq")
_DOUBLE = Struct(">cd")
_TIME = Struct(">cQ")
_DECIMAL = Struct(">cBi")


class Seconds(int):
    """An instant, in seconds since the epoch, that no datetime holds. It has up to 64 bits, none of them a sign."""


@lru_cache(maxsize=1024)  # a program uses few names, again and again
def short_string(text: str) -> bytes:
    """Return ``text`` as a short string. Raises :class:`Unencodable` above 255 bytes."""
    data = bytes_of(text)
    if len(data) > _LONGEST_NAME:
        raise Unencodable(f"{text[:40]!r}… has {len(data)} bytes; AMQP takes at most {_LONGEST_NAME} here")
    return bytes((len(data),)) + data


def encode_table(table: Mapping[str, object]) -> bytes:
    """Return ``table`` with its length. Raises :class:`Unencodable`."""
    try:
        joined = b"".join([short_string(name) + encode_value(value) for name, value in table.items()])
    except (StructError, UnicodeEncodeError, OverflowError) as error:
        raise Unencodable(f"a header that cannot be written: {error}") from None
    return _UINT.pack(len(joined)) + joined


def encode_value(value: object) -> bytes:
    """Return a value with the letter of its type. Raises :class:`Unencodable`, and what ``struct`` raises."""
    match value:
        case bool():
            return b"t\x01" if value else b"t\x00"
        case Seconds() | datetime():
            return _TIME.pack(b"T", value if isinstance(value, int) else int(value.timestamp()))
        case int():
            if not -(2**63) <= value < 2**63:
                raise Unencodable(f"a header with a number of {value.bit_length()} bits; AMQP has 64")
            return _LONG.pack(b"l", value)
        case str():
            data = value.encode()
            return _TEXT.pack(b"S", len(data)) + data
        case float():
            return _DOUBLE.pack(b"d", _number(value))
        case None:
            return b"V"
        case bytes() | bytearray():
            return _TEXT.pack(b"x", len(value)) + bytes(value)
        case Mapping():
            return b"F" + encode_table(cast("Mapping[str, object]", value))
        case list() | tuple():
            joined = b"".join(map(encode_value, cast("Sequence[object]", value)))
            return _TEXT.pack(b"A", len(joined)) + joined
        case Decimal():
            return _encode_decimal(value)
        case _:
            raise Unencodable(f"a header of type {type(value).__name__}; use text, a number or a bool")


def _encode_decimal(value: Decimal) -> bytes:
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or not -255 <= exponent <= 0 or len(digits) > 10:
        raise Unencodable(f"a header with the decimal {value}; AMQP has 32 bits and up to 255 places")
    try:
        return _DECIMAL.pack(b"D", -exponent, int(value.scaleb(-exponent)))
    except StructError:
        raise Unencodable(f"a header with the decimal {value}; AMQP has 32 bits and up to 255 places") from None


def decode_table(data: bytes, start: int = 0) -> tuple[dict[str, object], int]:
    """Return the table that begins at ``start`` and where it ends. Raises :class:`ProtocolViolation`."""
    try:
        return _decode_table(data, start, 0)
    except (StructError, IndexError, ValueError, OverflowError) as error:
        raise ProtocolViolation(f"a field table that cannot be read: {error}") from None


def _decode_table(data: bytes, start: int, depth: int) -> tuple[dict[str, object], int]:
    if depth > _DEEPEST:
        raise ProtocolViolation(f"a field table that is nested more than {_DEEPEST} times")
    table: dict[str, object] = {}
    (size,) = _UINT.unpack_from(data, start)
    at = start + 4
    end = at + size
    if end > len(data):
        raise ProtocolViolation("a field table that ends after its frame")
    while at < end:
        after = at + 1 + data[at]
        name = read_text(data[at + 1 : after])
        if data[after] == 0x53:  # S: nearly all of them
            at = after + 5 + _UINT.unpack_from(data, after + 1)[0]
            table[name] = _text(data[after + 5 : at])
        else:
            table[name], at = _decode_value(data, after, depth)
    if at != end:
        raise ProtocolViolation("a field table whose values end after it")
    return table, at


def _decode_value(data: bytes, at: int, depth: int) -> tuple[object, int]:
    kind = data[at : at + 1]
    fixed = _FIXED.get(kind)
    if fixed is not None:
        layout, made = fixed
        (value,) = layout.unpack_from(data, at + 1)
        return made(value), at + 1 + layout.size
    match kind:
        case b"V" | b"\x00":
            return None, at + 1
        case b"S" | b"x":
            end = at + 5 + _UINT.unpack_from(data, at + 1)[0]
            if end > len(data):
                raise ProtocolViolation("a text that ends after its frame")
            return (_text if kind == b"S" else bytes)(data[at + 5 : end]), end
        case b"F":
            return _decode_table(data, at + 1, depth + 1)
        case b"A":
            return _decode_array(data, at + 1, depth + 1)
        case b"D":
            _, places, number = _DECIMAL.unpack_from(data, at)
            return Decimal(number).scaleb(-places), at + _DECIMAL.size
        case _:
            raise ProtocolViolation(f"a field of the unknown type {kind!r}")


def _decode_array(data: bytes, start: int, depth: int) -> tuple[list[object], int]:
    if depth > _DEEPEST:
        raise ProtocolViolation(f"a field table that is nested more than {_DEEPEST} times")
    (size,) = _UINT.unpack_from(data, start)
    at = start + 4
    end = at + size
    if end > len(data):
        raise ProtocolViolation("an array that ends after its frame")
    values: list[object] = []
    while at < end:
        value, at = _decode_value(data, at, depth)
        values.append(value)
    if at != end:
        raise ProtocolViolation("an array whose values end after it")
    return values, at


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _instant(seconds: int) -> object:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # after the year 9999, or in milliseconds by mistake
        return Seconds(seconds)


def _number(value: float) -> float:
    if not isfinite(value):
        raise Unencodable(f"a header with the value {value}; RabbitMQ ends the connection that sends one")
    return value


def _same(value: object) -> object:
    return value


def _finite(value: float) -> object:
    if not isfinite(value):
        raise ProtocolViolation(f"a table with the value {value}, which RabbitMQ cannot have")
    return value


_FIXED: Mapping[bytes, tuple[Struct, Callable[[int], object]]] = {
    b"t": (Struct(">B"), bool),
    b"b": (Struct(">b"), _same),
    b"B": (Struct(">B"), _same),
    b"s": (Struct(">h"), _same),
    b"u": (Struct(">H"), _same),
    b"I": (Struct(">i"), _same),
    b"i": (Struct(">I"), _same),
    b"l": (Struct(">q"), _same),
    b"L": (Struct(">q"), _same),
    b"f": (Struct(">f"), _finite),
    b"d": (Struct(">d"), _finite),
    b"T": (Struct(">Q"), _instant),
}
