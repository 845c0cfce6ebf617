"""A program that holds deliveries until it is killed: ``python -m tests.conformance.holder URL QUEUE COUNT``.

With ``EXCHANGE KEY`` behind that, its queue is a temporary one, bound there.
"""

from __future__ import annotations

import asyncio
import sys

from taskq.broker.amqp.broker import AmqpBroker
from taskq.broker.protocol import Broker, Delivery
from taskq.broker.sqlite import SqliteBroker
from taskq.clock import SystemClock
from taskq.tasks.exchanges import Binding, TemporaryQueue


async def main(url: str, queue: str, count: int, exchange: str = "", key: str = "") -> None:
    held: list[Delivery] = []
    full = asyncio.Event()

    def hold(delivery: Delivery) -> None:
        held.append(delivery)
        if len(held) == count:
            full.set()

    kind = AmqpBroker if url.startswith("amqp") else SqliteBroker
    opened: Broker = kind(url, clock=SystemClock())
    async with opened as broker:
        if exchange:
            bindings = (Binding(exchange=exchange, queue=queue, key=key),)
            own = TemporaryQueue(name=queue, label="held", bindings=bindings, limit=99, overflow="drop-head")
            await broker.subscribe(own, prefetch=count or 1, deliver=hold)
        else:
            await broker.consume(queue, prefetch=count, deliver=hold)
        if count:
            await full.wait()
        print("holding", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:]))
