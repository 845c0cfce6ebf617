"""What the plane raises. None of it reaches a user: the parts above translate it."""

from __future__ import annotations

_NOT_ALLOWED = 530  # as the broker says it of one channel too many


class ProtocolViolation(Exception):
    """The peer sent bytes that AMQP 0-9-1 does not allow there; the connection is of no use any more."""


class Unencodable(Exception):
    """A message that AMQP cannot carry: a name above 255 bytes, a header value of an unknown type."""


class HeaderTooLarge(Unencodable):
    """A content header that is larger than a frame of this connection: it cannot be split. Sizes are bytes."""

    def __init__(self, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(f"properties and headers of {size:,} bytes; this broker takes {limit:,}")


class ChannelGone(Exception):
    """The channel is closed or its connection is lost. ``code`` is the broker's, 0 when it said nothing."""

    def __init__(self, code: int = 0, text: str = "the connection is lost") -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code} {text}" if code else text)


class NoChannelFree(ChannelGone):
    """No channel could be opened, since the connection has as many as it may have. It is not lost."""

    def __init__(self, most: int) -> None:
        text = f"all {most:,} channels of the connection are in use"
        super().__init__(_NOT_ALLOWED, f"{text}; consume fewer queues in a process, or raise the broker's channel_max")
