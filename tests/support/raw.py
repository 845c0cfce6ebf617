"""Messages as no good client would write them: properties byte for byte (AMQP 0-9-1, 4.2.5 and 4.2.6)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from struct import pack

import pika

CONTENT_TYPE = 1 << 15
CONTENT_ENCODING = 1 << 14
HEADERS = 1 << 13
PRIORITY = 1 << 11
CORRELATION_ID = 1 << 10
REPLY_TO = 1 << 9
EXPIRATION = 1 << 8
MESSAGE_ID = 1 << 7
TIMESTAMP = 1 << 6
TYPE = 1 << 5
APP_ID = 1 << 3

# One value of each type that RabbitMQ knows: https://www.rabbitmq.com/amqp-0-9-1-errata
FIELDS: dict[str, bytes] = {
    "bool": b"t\x01",
    "int8": b"b\xff",
    "uint8": b"B\xff",
    "int16": b"s" + pack(">h", -2),
    "uint16": b"u" + pack(">H", 65_535),
    "int32": b"I" + pack(">i", -3),
    "uint32": b"i" + pack(">I", 2**32 - 1),
    "int64": b"l" + pack(">q", -(2**63)),
    "float": b"f" + pack(">f", 0.5),
    "double": b"d" + pack(">d", 1e300),
    "decimal": b"D\x02" + pack(">i", 31_415),
    "small decimal": b"D\xff" + pack(">i", -1),
    "text": b"S" + pack(">I", 6) + "grüß".encode(),
    "latin-1": b"S" + pack(">I", 1) + b"\xfc",
    "bytes": b"x" + pack(">I", 2) + b"\x00\xff",
    "list": b"A" + pack(">I", 4) + b"t\x00t\x01",
    "table": b"F" + pack(">I", 4) + b"\x01at\x01",
    "time": b"T" + pack(">Q", 1_763_933_973),
    "time in milliseconds": b"T" + pack(">Q", 1_763_933_973_204),
    "time of no year": b"T" + pack(">Q", 2**64 - 1),
    "nothing": b"V",
}


class RawProperties(pika.BasicProperties):
    """Properties whose bytes are given: each flag with what stands for it, the highest flag first."""

    def __init__(self, *parts: tuple[int, bytes]) -> None:
        super().__init__()
        self._parts = parts

    def encode(self) -> list[bytes]:
        return [pack(">H", sum(flag for flag, _ in self._parts)), *(data for _, data in self._parts)]


def short(data: bytes) -> bytes:
    """Return a short string."""
    return bytes((len(data),)) + data


def table(fields: dict[bytes, bytes]) -> bytes:
    """Return a field table of names and values with their types."""
    joined = b"".join(short(name) + value for name, value in fields.items())
    return pack(">I", len(joined)) + joined


async def publish(url: str, queue: str, messages: Sequence[tuple[pika.BasicProperties, bytes]]) -> None:
    """Publish messages to a queue, each confirmed."""
    await asyncio.to_thread(_publish, url, queue, messages)


def _publish(url: str, queue: str, messages: Sequence[tuple[pika.BasicProperties, bytes]]) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    for properties, body in messages:
        channel.basic_publish("", queue, body, properties, mandatory=True)
    connection.close()
