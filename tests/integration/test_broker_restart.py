"""A broker that dies and comes back under load: what it confirmed is there, and everybody goes on."""

import asyncio
from collections.abc import Callable

import pytest

from taskq.errors import TaskqError
from taskq.tasks.queues import Queue
from tests.conformance.stand import Catch, to
from tests.integration.test_connections import Told, opened
from tests.support.rabbit import RabbitNode
from tests.support.waiting import eventually, until

PRODUCERS = 20


def killed(node: RabbitNode) -> None:
    node.kill()
    node.start()


def restarted(node: RabbitNode) -> None:
    node.stop()
    node.start()


@pytest.mark.parametrize("fate", [killed, restarted])
async def test_nothing_confirmed_is_lost_when_the_broker_goes_and_comes_back(
    own_node: RabbitNode, fate: Callable[[RabbitNode], None]
) -> None:
    confirmed: set[bytes] = set()
    told, catch, numbers = Told(), Catch(), iter(range(1_000_000))
    over = asyncio.Event()

    async def produce() -> None:
        while not over.is_set():
            body = b"%d" % next(numbers)
            try:
                await broker.publish(to("work", body), timeout_s=60)
            except TaskqError as error:
                raise AssertionError(f"{body!r} after {len(confirmed)}") from error
            confirmed.add(body)
            await asyncio.sleep(0.01)

    settled: set[bytes] = set()

    async def consume() -> None:
        while True:
            delivery = await catch.next(within_s=60)
            await asyncio.sleep(0.001)
            if (await delivery.settle()).value == "done":
                settled.add(delivery.message.body)

    async with opened(own_node.url(), told) as broker:
        await broker.declare([Queue("classic", type="classic")])
        await broker.publish(to("classic", b"stays"), timeout_s=5)
        await asyncio.to_thread(own_node.write_down)  # what it would do within seconds
        await broker.consume("work", prefetch=PRODUCERS, deliver=catch)
        consuming = asyncio.create_task(consume())
        producing = [asyncio.create_task(produce()) for _ in range(PRODUCERS)]
        await until(lambda: len(settled) > 200)
        await asyncio.to_thread(fate, own_node)
        before = len(settled)
        await eventually(lambda: len(settled) > before + 200, "producers and consumer go on", within_s=30)
        over.set()
        await asyncio.gather(*producing)
        await eventually(lambda: confirmed <= settled, "all that was confirmed is settled", within_s=30)
        consuming.cancel()
        assert [each.body for each in await broker.inspector.browse("classic", limit=9)] == [b"stays"]
    assert told.lost("publish")
    assert told.lost("consume")
    assert settled <= {b"%d" % number for number in range(next(numbers))}


async def test_a_broker_that_stands_still_for_a_while_is_waited_for(own_node: RabbitNode) -> None:
    told, catch = Told(), Catch()
    async with opened(own_node.url(), told) as broker:
        await broker.consume("work", prefetch=10, deliver=catch)
        own_node.pause()
        waiting = asyncio.ensure_future(broker.publish(to("work", b"patience"), timeout_s=30))
        await asyncio.sleep(2)
        assert not waiting.done()
        own_node.resume()
        await waiting
        assert await catch.settled() == b"patience"
        assert told.lost("publish") == []
