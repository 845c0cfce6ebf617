"""Exchanges, bindings and temporary queues as a program declares them. Pure values; both brokers make them exist.

Kinds, keys and matching are those of AMQP 0-9-1; :mod:`taskq.broker.routing` has the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict, get_args

from taskq.errors import DeclarationError, UsageError
from taskq.tasks.options import HeaderValue

ExchangeKind = Literal["fanout", "direct", "topic", "headers"]
Match = Literal["all", "any"]
Overflow = Literal["drop-head", "reject-publish"]
ArgumentValue = str | int | float | bool

_LONGEST_NAME = 180  # bytes, as of a queue
_LONGEST_KEY = 255  # bytes; AMQP's short string
_LARGEST_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeDefinition:
    """An exchange. ``durable``: it outlives the broker's restart.

    ``arguments``: RabbitMQ's own (``alternate-exchange``, say); the embedded broker ignores them. ``declare=False``: it
    belongs to somebody else; taskq uses it, checks that it is there, and never makes it.
    """

    name: str
    kind: ExchangeKind
    durable: bool = True
    arguments: Mapping[str, ArgumentValue] = field(default_factory=dict[str, ArgumentValue], hash=False)
    declare: bool = True

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.kind not in get_args(ExchangeKind):
            kinds = ", ".join(get_args(ExchangeKind))
            raise DeclarationError(f"exchange {self.name!r}: there is no kind {self.kind!r}; there are {kinds}")


class ExchangeOptions(TypedDict, total=False):
    """The options of ``app.exchange(…)``; see :class:`ExchangeDefinition`."""

    durable: bool
    arguments: Mapping[str, ArgumentValue] | None
    declare: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What an exchange passes on to a queue.

    ``key``: the routing key (direct), a pattern of words divided by dots with ``*`` for one word and ``#`` for none or
    more (topic), nothing (fanout, headers). ``headers`` and ``match`` are for a headers exchange: ``all`` of these
    headers, or ``any`` of them, have to be in the message with the same value.
    """

    exchange: str
    queue: str
    key: str = ""
    headers: Mapping[str, HeaderValue] = field(default_factory=dict[str, HeaderValue], hash=False)
    match: Match = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryQueue:
    """A queue of one process alone, which goes with it. It is not durable.

    ``name``: generated, see :func:`taskq.broker.names.new_subscription_queue`. ``label``: what it is for, for people.
    ``limit``: the most messages that wait in it; at that, ``drop-head`` drops the oldest, and ``reject-publish`` makes
    the publish fail (``BrokerBlocked``), although other queues may have taken the message.
    """

    name: str
    label: str
    bindings: tuple[Binding, ...]
    limit: int
    overflow: Overflow


def check_bindings(kind: ExchangeKind, exchange: str, bindings: tuple[Binding, ...]) -> None:
    """Raise :class:`DeclarationError` for bindings that an exchange of this kind does not know, or would misread."""
    for binding in bindings:
        where = f"exchange {exchange!r} ({kind})"
        if kind == "headers" and (binding.key or not binding.headers):
            raise DeclarationError(f"{where}: bind it by header values (headers={{…}}), not by keys")
        if kind != "headers" and binding.headers:
            raise DeclarationError(f"{where}: header values are for an exchange of kind 'headers'")
        if kind == "fanout" and binding.key:
            raise DeclarationError(f"{where}: it passes everything on; leave the key {binding.key!r} out")
        if kind in ("direct", "topic") and not binding.key:
            every = " ('#' is everything)" if kind == "topic" else ""
            raise DeclarationError(f"{where}: name at least one key{every}")
        check_key(binding.key, DeclarationError)
        if kind == "topic":
            _check_pattern(where, binding.key)
        if binding.match not in get_args(Match):
            raise DeclarationError(f"{where}: match must be 'all' or 'any', not {binding.match!r}")


def check_key(key: object, error: type[UsageError] = UsageError) -> None:
    """Raise ``error`` for what cannot be a routing key."""
    if not isinstance(key, str):
        raise error(f"routing key {key!r} is no text")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise error(f"routing key {key!r} is no valid Unicode") from None
    if size > _LONGEST_KEY:
        raise error(f"routing key {key[:40]!r}… has {size} bytes; AMQP has at most {_LONGEST_KEY}")


def check_limit(limit: object, overflow: object) -> None:
    """Raise :class:`DeclarationError` for a bound that no temporary queue can have."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= _LARGEST_LIMIT:
        raise DeclarationError(f"limit must be a whole number from 1 to {_LARGEST_LIMIT:,}, not {limit!r}")
    if overflow not in get_args(Overflow):
        raise DeclarationError(f"overflow must be 'drop-head' or 'reject-publish', not {overflow!r}")


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name or not name.isprintable():
        raise DeclarationError(f"exchange name {name!r}: use printable characters, at least one")
    if len(name.encode()) > _LONGEST_NAME:
        raise DeclarationError(f"exchange name {name[:40]!r}…: {len(name.encode())} bytes, at most {_LONGEST_NAME}")
    if name.startswith("taskq."):
        raise DeclarationError(f"exchange name {name!r}: names starting with 'taskq.' are taken")


def _check_pattern(where: str, pattern: str) -> None:
    for word in pattern.split("."):
        if word not in ("*", "#") and ("*" in word or "#" in word):
            raise DeclarationError(
                f"{where}: in the pattern {pattern!r}, {word!r} would match that very text; '*' and '#' stand for "
                "whole words between dots"
            )
