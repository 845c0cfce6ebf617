"""The delay ladder: how a message waits in RabbitMQ. Pure.

Theory of operation. A time to live for each message does not work: a queue lets expired messages go at its head
only, so a long delay holds up the short ones behind it. A queue in which every message has *the same* time to live
has no such trouble. So there is one queue for each power of two: level *k* keeps a message for ``UNIT_MS`` · 2^k,
and a delay is the sum of the levels whose bit is 1 in its number of units.

::

    exchange 27 ──1──> queue 27 ──expired──┐         routing key of 5 units for "images", with 28 bits:
        └─────0────────────────────────────┴──> exchange 26 ── … ──> exchange 0 ──1──> queue 0 ──┐
                                                    0.0.….0.1.0.1.images    └────0───────────────┴──> out ──> images

Every exchange of the ladder is a topic exchange, and the routing key never changes on the way: the bits of the
number, the highest first, then the queue's name, divided by dots. The exchange of level *k* looks at the word of
its own bit. A 1 goes into the level's queue, which dead-letters to the next lower exchange when the time is over; a
0 goes to that exchange at once. A publish enters at its highest 1, so a short delay is handled by few levels. A
message thus waits in at most one queue at a time, and moves from queue to queue at-least-once: a level lets it go
when the next one has confirmed it.

The way out has one binding for each work queue, with exactly one ``*`` for each bit and then the queue's name. A
``#`` instead would match "shop.images" for the queue "images", too. What finds no queue there (it was deleted in the
meantime) goes by the alternate exchange to ``taskq.unroutable``, where inspection shows it.

Never early. RabbitMQ keeps time in whole milliseconds and cuts off the rest: a message that arrives at 0.9 ms counts
from 0. Levels may be led by different nodes, whose milliseconds begin at different moments, so each level may let it go
up to 1 ms early, and a message with *n* ones waits for up to *n* ms less than the sum. The number of units is
therefore the smallest whose time *less its ones* covers the delay. That is less than two units too long, besides the
few milliseconds that each hop takes. A clock that somebody sets while a message waits moves its end by as much.

A message must not carry an ``expiration``: the smaller of the two times to live would win. The levels' names hold
unit and number of levels, so that another layout, one day, is another ladder beside this one.
"""

from __future__ import annotations

import math

from taskq.broker.amqp.topology import BindingSpec, ExchangeSpec, QueueSpec, Topology, kept_queue
from taskq.errors import UsageError

UNIT_MS = 50
LEVELS = 28
PREFIX = f"taskq.delay.{UNIT_MS}x{LEVELS}."
OUT = f"{PREFIX}out"
UNROUTABLE = "taskq.unroutable"

_MOST_UNITS = 2**LEVELS - 1
LONGEST_S = (_MOST_UNITS * UNIT_MS - LEVELS) / 1000
"""The longest delay, in seconds: some 155 days."""


def level_name(level: int) -> str:
    """Return the name of a level's exchange and of its queue."""
    return f"{PREFIX}{level}"


def way_out(queue: str) -> BindingSpec:
    """Return the binding by which ``queue`` gets its messages when their time has come."""
    return BindingSpec(OUT, queue, "*." * LEVELS + queue)


def entry(remaining_s: float, queue: str) -> tuple[str, str]:
    """Return the exchange and the routing key of a message that is to reach ``queue`` in ``remaining_s`` seconds.

    Without anything to wait for, that is the queue itself. Raises :class:`UsageError` above :data:`LONGEST_S`.
    """
    if not remaining_s > 0:
        return "", queue
    units = _units(remaining_s)
    return level_name(units.bit_length() - 1), ".".join(f"{units:0{LEVELS}b}") + "." + queue


def _units(remaining_s: float) -> int:
    if remaining_s > LONGEST_S:
        raise UsageError(
            f"a delay of {remaining_s / 86400:,.0f} days: RabbitMQ holds a job for at most {LONGEST_S / 86400:.0f} "
            "days; enqueue it later, from a schedule"
        )
    least_ms = math.ceil(remaining_s * 1000)
    units = max(1, math.ceil(least_ms / UNIT_MS))
    while units * UNIT_MS - units.bit_count() < least_ms:
        units += 1  # once at most: a unit is longer than all ones together
    return units


def _below(level: int) -> str:
    return level_name(level - 1) if level else OUT


def _level_queue(level: int) -> QueueSpec:
    return kept_queue(
        level_name(level),
        message_ttl=UNIT_MS << level,
        dead_letter_exchange=_below(level),
        dead_letter_strategy="at-least-once",
        overflow="reject-publish",
    )


def _level_bindings(level: int) -> tuple[BindingSpec, BindingSpec]:
    higher = "*." * (LEVELS - 1 - level)
    name = level_name(level)
    return BindingSpec(name, name, f"{higher}1.#"), BindingSpec(name, _below(level), f"{higher}0.#", to_exchange=True)


LADDER = Topology(
    exchanges=(
        ExchangeSpec(UNROUTABLE, "fanout"),
        ExchangeSpec(OUT, "topic", {"alternate-exchange": UNROUTABLE}),
        *(ExchangeSpec(level_name(level), "topic") for level in range(LEVELS)),
    ),
    queues=(kept_queue(UNROUTABLE), *(_level_queue(level) for level in range(LEVELS))),
    bindings=(
        BindingSpec(UNROUTABLE, UNROUTABLE),
        *(binding for level in range(LEVELS) for binding in _level_bindings(level)),
    ),
)
"""All of the ladder but the ways out, which belong to the work queues."""
