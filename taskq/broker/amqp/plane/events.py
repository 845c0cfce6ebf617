"""What a hot channel tells, in the order in which it arrived."""

from __future__ import annotations

from typing import NamedTuple

from pamqp.base import Frame


class Delivered(NamedTuple):
    """A message for the consumer. ``content`` is the payload of its content header.

    ``exchange`` and ``key``: where it was published; both are empty for the default exchange, whose key is the queue.
    """

    tag: int
    redelivered: bool
    content: bytes
    body: bytes
    exchange: str = ""
    key: str = ""


class Got(NamedTuple):
    """The answer to a get: a message, and how many are left behind it. The rest is as of a delivery."""

    tag: int
    redelivered: bool
    left: int
    content: bytes
    body: bytes
    exchange: str = ""
    key: str = ""


class Returned(NamedTuple):
    """A publish that no queue took; its confirm follows."""

    code: int
    text: str
    content: bytes
    body: bytes


class Confirmed(NamedTuple):
    """The broker has publishes: ``tag``, or with ``multiple`` all up to it. ``accepted=False``: it refused them."""

    tag: int
    multiple: bool
    accepted: bool


class Cancelled(NamedTuple):
    """The broker ended a consumer: its queue is gone, or its node."""

    consumer: str


class Answered(NamedTuple):
    """The answer to a command."""

    frame: Frame


class Closed(NamedTuple):
    """The broker closed the channel, because of an error."""

    code: int
    text: str


Event = Delivered | Got | Returned | Confirmed | Cancelled | Answered | Closed
