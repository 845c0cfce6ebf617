"""The content header of a message (AMQP 0-9-1, 4.2.6.1): properties and headers, to bytes and back.

Only what :class:`~taskq.wire.message.Message` carries is written and read; the other properties are passed over.
Every message is persistent. What was read can be written again, with the same bytes where it is no UTF-8.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from struct import error as StructError

from taskq.broker.amqp.plane.faults import ProtocolViolation, Unencodable
from taskq.broker.amqp.plane.jobtables import ENQUEUED_AT_MARKER, encode_headers
from taskq.broker.amqp.plane.rawtext import bytes_of, read_text
from taskq.broker.amqp.plane.tables import decode_table, short_string
from taskq.wire.headers import ENQUEUED_AT
from taskq.wire.message import Message

_HEAD = Struct(">HHQH")  # class, weight, size of the body, flags
_TIME = Struct(">Q")
_UINT = Struct(">I")
_LONG = Struct(">q")
_BASIC = 60
LEAST_CONTENT = _HEAD.size
"""How many bytes the payload of a content header has at least."""
_LONGEST_LAST = 3 * 256  # bytes; with more behind it, a remembered one would take whatever somebody puts there

_CONTENT_TYPE = 1 << 15
_CONTENT_ENCODING = 1 << 14
_HEADERS = 1 << 13
_DELIVERY_MODE = 1 << 12
_PRIORITY = 1 << 11
_CORRELATION_ID = 1 << 10
_REPLY_TO = 1 << 9
_EXPIRATION = 1 << 8
_MESSAGE_ID = 1 << 7
_TIMESTAMP = 1 << 6
_TYPE = 1 << 5
_USER_ID = 1 << 4
_APP_ID = 1 << 3
_MORE_FLAGS = 1

_MOST_BEGINNINGS, _LONGEST_BEGINNING = 1024, 512  # remembered, bytes of one
_SCALARS = (str, int, float, bytes, type(None))

_PERSISTENT = b"\x02"
_SIZES = tuple(bytes((size,)) for size in range(256))
_HIGHEST_PRIORITY = 255


def encode_content(message: Message) -> bytes:
    """Return the payload of a content header frame. Raises :class:`Unencodable`."""
    (
        body,
        message_id,
        kind,
        correlation_id,
        reply_to,
        content_type,
        content_encoding,
        timestamp,
        app_id,
        priority,
        headers,
    ) = message
    flags, first, address, last = _constant(content_type, content_encoding, reply_to, kind, app_id)
    own = first
    if headers:
        flags |= _HEADERS
        own += encode_headers(headers)
    own += _PERSISTENT
    if priority is not None:
        flags |= _PRIORITY
        own += _priority(priority)
    if correlation_id is not None:
        flags |= _CORRELATION_ID
        own += _own_text(correlation_id)
    own += address + _own_text(message_id)
    if timestamp is not None:
        flags |= _TIMESTAMP
        own += _timestamp(timestamp)
    return _HEAD.pack(_BASIC, 0, len(body), flags) + own + last


@lru_cache(maxsize=1024)  # the same few, message after message
def _constant(
    content_type: str | None, content_encoding: str | None, reply_to: str | None, kind: str | None, app_id: str | None
) -> tuple[int, bytes, bytes, bytes]:
    """Return the flags of these and of what every message has, and the bytes of the first two, the third, the last."""
    flags = _DELIVERY_MODE | _MESSAGE_ID
    texts = (content_type, content_encoding, reply_to, kind, app_id)
    for flag, text in zip((_CONTENT_TYPE, _CONTENT_ENCODING, _REPLY_TO, _TYPE, _APP_ID), texts, strict=True):
        flags |= 0 if text is None else flag
    written = [b"" if text is None else short_string(text) for text in texts]
    return flags, written[0] + written[1], written[2], written[3] + written[4]


def _own_text(text: str) -> bytes:
    """Write an id: no other message has it, so that it must not push the common texts out of their cache."""
    try:
        data = text.encode() if type(text) is str else bytes_of(text)
        return _SIZES[len(data)] + data
    except (UnicodeEncodeError, IndexError):
        return short_string(text)  # which says what is wrong


def _priority(priority: int) -> bytes:
    if not 0 <= priority <= _HIGHEST_PRIORITY:
        raise Unencodable(f"priority {priority}; AMQP has 0 to {_HIGHEST_PRIORITY}")
    return bytes((priority,))


def _timestamp(seconds: int) -> bytes:
    try:
        return _TIME.pack(seconds)
    except StructError:
        raise Unencodable(f"the timestamp {seconds!r}; AMQP has whole seconds since 1970, with 64 bits") from None


def body_size(content: bytes) -> int:
    """Return how many bytes of body follow a content header. Raises :class:`ProtocolViolation`."""
    if len(content) < LEAST_CONTENT:
        raise ProtocolViolation(f"a content header of {len(content)} bytes")
    class_id, _, size, _ = _HEAD.unpack_from(content)
    if class_id != _BASIC:
        raise ProtocolViolation(f"a content header of class {class_id}")
    return int(size)


def decode_content(content: bytes, body: bytes) -> Message:
    """Return the message of a content header and its body. Raises :class:`ProtocolViolation`."""
    try:
        return _decode(content, body)
    except (StructError, IndexError) as error:
        raise ProtocolViolation(f"a content header that cannot be read: {error}") from None


def decode_message_id(content: bytes) -> str:
    """Return the message id of a content header; an empty text where there is none, or it cannot be read."""
    try:
        return decode_content(content, b"").message_id
    except ProtocolViolation:
        return ""


def _decode(content: bytes, body: bytes) -> Message:
    correlation_id = reply_to = None
    kind: str | None = None
    app_id: str | None = None
    message_id = ""
    priority = timestamp = None
    at = content.find(ENQUEUED_AT_MARKER, 14)
    begun = _BEGINNINGS.get(content[12:at]) if at > 0 else None
    if begun is None:
        flags, content_type, content_encoding, headers, at = _decode_beginning(content, at)
    else:
        flags, content_type, content_encoding, head, left = begun
        at += len(ENQUEUED_AT_MARKER)
        headers = {**head, ENQUEUED_AT: _LONG.unpack_from(content, at)[0]}
        at += _LONG.size
        if left:
            headers |= decode_table(_UINT.pack(left) + content[at : at + left])[0]
            at += left
    if flags & _DELIVERY_MODE:
        at += 1
    if flags & _PRIORITY:
        priority = content[at]
        at += 1
    if flags & _CORRELATION_ID:
        end = at + 1 + content[at]
        correlation_id, at = read_text(content[at + 1 : end]), end
    if flags & _REPLY_TO:
        end = at + 1 + content[at]
        reply_to, at = _word(content[at + 1 : end]), end
    if flags & _EXPIRATION:
        at += 1 + content[at]
    if flags & _MESSAGE_ID:
        end = at + 1 + content[at]
        message_id, at = read_text(content[at + 1 : end]), end
    if flags & _TIMESTAMP:
        (timestamp,) = _TIME.unpack_from(content, at)
        at += 8
    if at > len(content):
        raise ProtocolViolation("a text that ends after its frame")
    if flags & (_TYPE | _USER_ID | _APP_ID):
        kind, app_id = _last_words(flags, content[at : at + _LONGEST_LAST])
    return Message(
        body,
        message_id,
        kind,
        correlation_id,
        reply_to,
        content_type,
        content_encoding,
        timestamp,
        app_id,
        priority,
        headers,
    )


_Beginning = tuple[int, str | None, str | None, dict[str, object], int]
_BEGINNINGS: dict[bytes, _Beginning] = {}
"""What the bytes from the flags up to the instant at which a job was enqueued say, by themselves: flags, content type,
content encoding, the headers before that instant, and how many bytes of headers follow it. They are the same in job
after job; a table is read from its beginning, so that they say the same whatever follows.
"""


def _decode_beginning(content: bytes, instant_at: int) -> tuple[int, str | None, str | None, dict[str, object], int]:
    """Read the flags and what stands up to the headers' end, and return it with that end, and remember it.

    ``instant_at``: where the instant's marker is first found.
    """
    (flags,) = _FLAGS.unpack_from(content, 12)
    at = 14
    if flags & _MORE_FLAGS:
        raise ProtocolViolation("a content header with more flags than there are properties")
    content_type = content_encoding = None
    headers: dict[str, object] = {}
    if flags & _CONTENT_TYPE:
        end = at + 1 + content[at]
        content_type, at = _word(content[at + 1 : end]), end
    if flags & _CONTENT_ENCODING:
        end = at + 1 + content[at]
        content_encoding, at = _word(content[at + 1 : end]), end
    if flags & _HEADERS:
        first = at + _UINT.size
        end = first + _UINT.unpack_from(content, at)[0]
        left = end - instant_at - len(ENQUEUED_AT_MARKER) - _LONG.size
        apart = first <= instant_at <= _LONGEST_BEGINNING and left >= 0
        head = _entries(content[first:instant_at]) if apart else None
        if head is None:
            headers, at = decode_table(content, at)
        else:
            headers = head | decode_table(_UINT.pack(end - instant_at) + content[instant_at:end])[0]
            at = end
            if len(_BEGINNINGS) >= _MOST_BEGINNINGS:
                _BEGINNINGS.clear()
            _BEGINNINGS[content[12:instant_at]] = flags, content_type, content_encoding, head, left
    return flags, content_type, content_encoding, headers, at


def _entries(data: bytes) -> dict[str, object] | None:
    """Return the entries of a table's beginning; ``None`` when it ends within one, or one can be changed."""
    try:
        head, _ = decode_table(_UINT.pack(len(data)) + data)
    except ProtocolViolation:
        return None
    return head if all(isinstance(value, _SCALARS) for value in head.values()) else None


@lru_cache(maxsize=1024)  # the same few, message after message
def _last_words(flags: int, data: bytes) -> tuple[str | None, str | None]:
    """Read the type, the user id, which is passed over, and the app id."""
    kind = app_id = None
    at = 0
    if flags & _TYPE:
        end = at + 1 + data[at]
        kind, at = _word(data[at + 1 : end]), end
    if flags & _USER_ID:
        at += 1 + data[at]
    if flags & _APP_ID:
        end = at + 1 + data[at]
        app_id, at = _word(data[at + 1 : end]), end
    if at > len(data):
        raise ProtocolViolation("a text that ends after its frame")
    return kind, app_id


_FLAGS = Struct(">H")


@lru_cache(maxsize=1024)  # the same few, message after message
def _word(data: bytes) -> str:
    return read_text(data)
