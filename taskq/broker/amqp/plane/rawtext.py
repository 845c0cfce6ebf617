"""Short texts that are no UTF-8, as foreign programs send them: names of headers, content types, ids, addresses.

They are shown with U+FFFD in place of what cannot be read, which every log and every JSON can carry, and are written
again as the bytes that they were: the shown text alone may be three times as long, and above what AMQP takes.
"""

from __future__ import annotations

from taskq.broker.amqp.plane.faults import Unencodable


class RawText(str):
    """A text that remembers its bytes, ``raw``. It equals what has the same bytes; what is made of it is plain text."""

    __slots__ = ("raw",)
    raw: bytes

    def __new__(cls, raw: bytes) -> RawText:
        text = super().__new__(cls, raw.decode(errors="replace"))
        text.raw = raw
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RawText) and self.raw == other.raw

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __reduce__(self) -> tuple[type[RawText], tuple[bytes]]:
        return RawText, (self.raw,)


def read_text(data: bytes) -> str:
    """Return the text that is in ``data``."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return RawText(data)


def bytes_of(text: str) -> bytes:
    """Return a text as it is written. Raises :class:`Unencodable` for half of a surrogate pair."""
    try:
        return text.raw if isinstance(text, RawText) else text.encode()
    except UnicodeEncodeError:
        raise Unencodable(f"{text[:40]!r} is no valid Unicode") from None
