"""What the plane raises. None of it reaches a user: the parts above translate it."""

from __future__ import annotations


class ProtocolViolation(Exception):
    """The peer sent bytes that AMQP 0-9-1 does not allow there; the connection is of no use any more."""


class Unencodable(Exception):
    """A message that AMQP cannot carry: a name above 255 bytes, a header value of an unknown type."""


class ChannelGone(Exception):
    """The channel is closed or its connection is lost. ``code`` is the broker's, 0 when it said nothing."""

    def __init__(self, code: int = 0, text: str = "the connection is lost") -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code} {text}" if code else text)
