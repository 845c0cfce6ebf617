"""A program that holds deliveries until it is killed: ``python -m tests.conformance.holder URL QUEUE COUNT``."""

from __future__ import annotations

import asyncio
import sys

from taskq.broker.amqp.broker import AmqpBroker
from taskq.broker.protocol import Broker, Delivery
from taskq.broker.sqlite import SqliteBroker
from taskq.clock import SystemClock


async def main(url: str, queue: str, count: int) -> None:
    held: list[Delivery] = []
    full = asyncio.Event()

    def hold(delivery: Delivery) -> None:
        held.append(delivery)
        if len(held) == count:
            full.set()

    kind = AmqpBroker if url.startswith("amqp") else SqliteBroker
    opened: Broker = kind(url, clock=SystemClock())
    async with opened as broker:
        await broker.consume(queue, prefetch=count, deliver=hold)
        await full.wait()
        print("holding", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
