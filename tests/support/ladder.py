"""RabbitMQ's delay ladder, as tests see it: made before a test measures delays, and looked into."""

from __future__ import annotations

import time

from taskq.broker.amqp.broker import AmqpBroker
from taskq.broker.amqp.ladder import LEVELS, UNROUTABLE, level_name
from taskq.broker.protocol import Outgoing
from taskq.clock import SystemClock
from taskq.tasks.queues import Queue
from taskq.wire.ids import new_message_id
from taskq.wire.message import Message


async def make_ladder(url: str) -> None:
    """Do what the first delay on a new broker does besides: make the ladder, which takes about a second."""
    async with AmqpBroker(url, clock=SystemClock()) as broker:
        await broker.declare([Queue("first")])
        first = Message(body=b"", message_id=new_message_id())
        await broker.publish(Outgoing(first, "first", not_before=time.time() + 0.05), timeout_s=10)


async def in_ladder(broker: AmqpBroker) -> int:
    """Return how many messages wait in the ladder, or have come out of it where no queue takes them."""
    return sum((await levels_of(broker)).values())


async def levels_of(broker: AmqpBroker) -> dict[str, int]:
    """Return how many messages wait in each queue of the ladder that holds any."""
    held = dict[str, int]()
    for name in (UNROUTABLE, *map(level_name, range(LEVELS))):
        counts = await broker.declarer.counts(name)
        if counts is None:
            return {}  # it was never made
        if counts.ready:
            held[name] = counts.ready
    return held
