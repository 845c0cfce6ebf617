"""Publish: confirmed, durable, in order, unroutable, withdrawn."""

import asyncio

import pytest

from taskq.broker.protocol import Outgoing
from taskq.errors import Unroutable
from taskq.tasks.queues import Queue
from tests.conformance.stand import TIMEOUT_S, Stand, consuming, message, publish, to, turnover


async def test_a_confirmed_message_survives_the_broker_that_published_it(lasting: Stand) -> None:
    async with lasting.new() as broker:
        await broker.declare([Queue("work")])
        await publish(broker, to("work", b"1"))
    later = await lasting.open()
    catch, _ = await consuming(later, "work")
    assert await catch.settled() == b"1"


async def test_a_message_arrives_with_every_property_it_was_sent_with(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    sent = message(
        b"\x00\xff body",
        type="resize",
        correlation_id="job",
        reply_to="taskq.reply.x",
        content_type="text/plain",
        content_encoding="utf-8",
        timestamp=1_700_000_000,
        app_id="shop",
        priority=3,
        headers={"text": "…", "number": 1, "float": 0.5, "flag": True},
    )
    bare = message(b"", content_type=None)
    await publish(broker, Outgoing(sent, "work"), Outgoing(bare, "work"))
    catch, _ = await consuming(broker, "work", prefetch=2)
    assert [delivery.message for delivery in await catch.take(2)] == [sent, bare]
    assert {delivery.queue for delivery in catch.all} == {"work"}
    assert [delivery.redeliveries for delivery in catch.all] == [0, 0]


async def test_a_message_for_a_missing_queue_is_unroutable_and_stored_nowhere(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    with pytest.raises(Unroutable, match="'nowhere'"):
        await broker.publish(to("nowhere"), timeout_s=TIMEOUT_S)
    await broker.publish(to("work"), timeout_s=TIMEOUT_S)
    assert sum(queue.ready for queue in await broker.inspector.queues()) == 1


async def test_an_unroutable_message_fails_alone_among_those_published_with_it(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    sends = [broker.publish(to(queue), timeout_s=TIMEOUT_S) for queue in ("work", "nowhere", "work")]
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), Unroutable, type(None)]
    assert len(await broker.inspector.browse("work", limit=9)) == 2


async def test_a_message_that_is_not_mandatory_is_dropped_without_an_error(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await broker.publish(to("taskq.reply.gone", mandatory=False), timeout_s=TIMEOUT_S)
    assert sum(queue.ready + (queue.delayed or 0) for queue in await broker.inspector.queues()) == 0


async def test_messages_are_delivered_in_the_order_of_the_calls(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, *[to("work", b"%d" % n) for n in range(300)])
    catch, _ = await consuming(broker, "work", prefetch=7)
    assert [await catch.settled() for _ in range(300)] == [b"%d" % n for n in range(300)]


async def test_a_publish_starts_at_once_also_when_nobody_waits_for_it_yet(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    catch, _ = await consuming(broker, "work")
    confirmation = broker.publish(to("work", b"1"), timeout_s=TIMEOUT_S)
    assert await catch.settled() == b"1"
    await confirmation


async def test_a_cancelled_wait_leaves_the_message_stored_once_or_not_at_all(stand: Stand) -> None:
    broker = await stand.open(None, "work")

    async def send() -> None:
        await broker.publish(to("work"), timeout_s=TIMEOUT_S)

    sending = [asyncio.create_task(send()) for _ in range(50)]
    await asyncio.sleep(0)
    for task in sending[::2]:
        task.cancel()
    results = await asyncio.gather(*sending, return_exceptions=True)
    assert results[1::2] == [None] * 25
    assert {type(result) for result in results[::2]} == {asyncio.CancelledError}
    await turnover(broker)
    stored = await broker.inspector.browse("work", limit=99)
    assert 25 <= len(stored) <= 50
    assert len({each.message_id for each in stored}) == len(stored)


async def test_many_publishers_at_once_are_all_confirmed(stand: Stand) -> None:
    brokers = [await stand.open(None, "work") for _ in range(4)]

    async def send(number: int) -> None:
        for step in range(20):
            body = b"%d" % (number * 20 + step)
            await brokers[number % 4].publish(to("work", body), timeout_s=TIMEOUT_S)

    await asyncio.gather(*[send(number) for number in range(40)])
    bodies = [each.body for each in await brokers[0].inspector.browse("work", limit=10_000)]
    assert sorted(int(body) for body in bodies) == list(range(800))
