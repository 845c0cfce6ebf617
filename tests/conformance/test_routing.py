"""Any exchange, any bindings, any messages: each queue gets what a model of AMQP's rules says, once and in order.

Hypothesis is no coroutine: it runs in a thread, and each example on the test's own loop.
"""

import asyncio
import itertools
from dataclasses import replace

from hypothesis import HealthCheck, given, settings

from taskq.broker.protocol import Broker
from taskq.tasks.exchanges import ExchangeDefinition, TemporaryQueue
from tests.conformance.stand import Stand, publish, subscribed, temporary, through, to
from tests.support.topologies import Drawn, topologies

END = b"end"
QUEUES = ("q0", "q1", "q2")


async def test_every_queue_gets_what_the_model_says(stand: Stand) -> None:
    broker = await stand.open()
    loop = asyncio.get_running_loop()
    numbers = itertools.count()

    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    @given(topologies(queues=len(QUEUES)))
    def run(drawn: Drawn) -> None:
        coming = asyncio.run_coroutine_threadsafe(routed(broker, f"exchange-{next(numbers)}", drawn), loop)
        assert coming.result(60) == {queue: drawn.expected(queue) for queue in QUEUES}

    await asyncio.to_thread(run)


async def routed(broker: Broker, exchange: str, drawn: Drawn) -> dict[str, list[int]]:
    """Return the numbers of the messages that each queue gets; what is published to it last is its end."""
    await broker.declare([], exchanges=[ExchangeDefinition(name=exchange, kind=drawn.kind)])
    queues = {queue: bound(exchange, queue, drawn) for queue in QUEUES}
    listening = {queue: await subscribed(broker, own, prefetch=99) for queue, own in queues.items()}
    sent = [through(exchange, key, b"%d" % number, **headers) for number, (key, headers) in enumerate(drawn.messages)]
    await publish(broker, *sent)
    await publish(broker, *[to(own.name, END) for own in queues.values()])
    got: dict[str, list[int]] = {queue: [] for queue in QUEUES}
    for queue, (catch, consumer) in listening.items():
        while (body := await catch.settled()) != END:
            got[queue].append(int(body))
        await consumer.close()
    return got


def bound(exchange: str, queue: str, drawn: Drawn) -> TemporaryQueue:
    """A temporary queue in the place of one that was drawn."""
    own = temporary()
    bindings = [replace(each, exchange=exchange, queue=own.name) for each in drawn.bindings if each.queue == queue]
    return replace(own, bindings=tuple(bindings))
