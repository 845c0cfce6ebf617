"""A broker whose disk or memory is used up: publishes wait and fail with its reason, and all else goes on."""

import asyncio
from collections.abc import Callable

import pytest

from taskq import BrokerBlocked, PublishUnconfirmed, TaskQ
from taskq.broker.amqp.broker import AmqpBroker
from taskq.clock import SystemClock
from taskq.lifecycle import BrokerAlarmed, BrokerAlarmEnded
from taskq.tasks.queues import Queue
from tests.conformance.stand import Catch, to
from tests.integration.test_connections import Told
from tests.support.rabbit import RabbitNode
from tests.support.waiting import until

KINDS: dict[str, Callable[[RabbitNode, bool], None]] = {
    "disk": lambda node, on: node.alarm_disk(on),
    "memory": lambda node, on: node.alarm_memory(on),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_an_alarm_holds_up_publishes_alone_and_passes(own_node: RabbitNode, kind: str) -> None:
    told, catch = Told(), Catch()
    async with AmqpBroker(own_node.url(), clock=SystemClock(), emit=told.events.append) as broker:
        await broker.declare([Queue("work")])
        for number in range(3):
            await broker.publish(to("work", b"%d" % number), timeout_s=5)
        await broker.consume("work", prefetch=1, deliver=catch)
        held = await catch.next()
        await asyncio.to_thread(KINDS[kind], own_node, True)
        with pytest.raises(PublishUnconfirmed) as sent:  # RabbitMQ tells of an alarm when something is sent
            await broker.publish(to("work", b"sent"), timeout_s=1)
        assert "low on" in sent.value.reason
        assert kind in sent.value.reason
        with pytest.raises(BrokerBlocked, match=f"low on.*{kind}.*Nothing was stored"):
            await broker.publish(to("work", b"not sent"), timeout_s=0.3)
        assert (await held.settle()).value == "done"
        assert [await catch.settled(), await catch.settled()] == [b"1", b"2"]
        await broker.declare([Queue("new")])
        assert "new" in {state.name for state in await broker.inspector.queues()}
        waiting = asyncio.ensure_future(broker.publish(to("new", b"waits"), timeout_s=30))
        await asyncio.to_thread(KINDS[kind], own_node, False)
        await waiting
        assert [each.body for each in await broker.inspector.browse("new", limit=9)] == [b"waits"]
        await until(lambda: any(isinstance(event, BrokerAlarmEnded) for event in told.events))
        assert sum(isinstance(event, BrokerAlarmed) for event in told.events) == 1


async def test_enqueue_names_the_alarm_and_works_again_without_a_restart(own_node: RabbitNode) -> None:
    app = TaskQ[object]("shop", url=own_node.url(), publish_timeout=1)

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    async with app:
        worker = app.worker()
        running = asyncio.create_task(worker.run())
        assert await double.call(1) == 2
        await asyncio.to_thread(own_node.alarm_disk, True)
        with pytest.raises(PublishUnconfirmed, match="low on disk") as caught:
            await double.enqueue(2)
        assert caught.value.job_id is not None
        await asyncio.to_thread(own_node.alarm_disk, False)
        assert await double.call(3) == 6
        worker.stop("the test is over")
        await running
