"""Consume: prefetch, one holder at a time, priority, order, stop."""

import asyncio

import pytest

from taskq.broker.protocol import Outgoing, Settlement
from taskq.errors import Unroutable
from taskq.tasks.queues import Queue
from tests.conformance.stand import Catch, Stand, consuming, message, publish, to, turnover
from tests.support.waiting import eventually


@pytest.mark.parametrize("prefetch", [1, 5])
async def test_a_consumer_never_holds_more_than_its_prefetch(stand: Stand, prefetch: int) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, *[to("work") for _ in range(30)])
    catch, _ = await consuming(broker, "work", prefetch=prefetch)
    for _ in range(30):
        await catch.settled()
    await turnover(broker)
    assert catch.most_open == prefetch
    assert len(catch.all) == 30


async def test_a_full_consumer_leaves_the_rest_to_a_free_one(stand: Stand) -> None:
    first, second = await stand.open(None, "work"), await stand.open()
    await publish(first, *[to("work", b"%d" % n) for n in range(3)])
    busy, _ = await consuming(first, "work")
    held = await busy.next()
    free, _ = await consuming(second, "work")
    assert [await free.settled() for _ in range(2)] == [b"1", b"2"]
    assert busy.empty
    assert await held.settle() is Settlement.DONE


async def test_each_message_is_with_one_consumer_at_a_time(stand: Stand) -> None:
    brokers = [await stand.open(None, "work") for _ in range(3)]
    catches = [(await consuming(broker, "work", prefetch=4))[0] for broker in brokers for _ in range(2)]
    await publish(brokers[0], *[to("work", b"%d" % n) for n in range(200)])
    seen: list[bytes] = []

    async def work(catch: Catch) -> None:
        while True:
            delivery = await catch.next(60)
            seen.append(delivery.message.body)
            await delivery.settle()

    working = [asyncio.create_task(work(catch)) for catch in catches]
    await eventually(lambda: len(seen) >= 200, "all 200 were delivered")
    await turnover(brokers[0])
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    assert sorted(int(body) for body in seen) == list(range(200))


async def test_the_higher_priority_goes_first_then_the_earlier_publish(stand: Stand) -> None:
    broker = await stand.open(None, Queue("work", type="classic", max_priority=5))
    sent = [(b"a", 0), (b"b", 5), (b"c", None), (b"d", 9), (b"e", 3), (b"f", 5)]
    await publish(broker, *[Outgoing(message(body, priority=priority), "work") for body, priority in sent])
    catch, _ = await consuming(broker, "work")
    assert [await catch.settled() for _ in sent] == [b"b", b"d", b"f", b"e", b"a", b"c"]


async def test_a_priority_on_a_queue_without_priorities_changes_nothing(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, Outgoing(message(b"a"), "work"), Outgoing(message(b"b", priority=9), "work"))
    catch, _ = await consuming(broker, "work")
    order = [await catch.settled() for _ in range(2)]
    assert order == [b"a", b"b"] or (not stand.embedded and sorted(order) == [b"a", b"b"]), "RabbitMQ 4 has two for all"


async def test_a_waiting_consumer_gets_what_is_published(stand: Stand) -> None:
    publisher, worker = await stand.open(None, "work"), await stand.open()
    catch, _ = await consuming(worker, "work")
    for number in range(5):
        await turnover(worker)
        await publish(publisher, to("work", b"%d" % number))
        assert await catch.settled() == b"%d" % number


async def test_consuming_a_missing_queue_is_unroutable(stand: Stand) -> None:
    broker = await stand.open()
    with pytest.raises(Unroutable, match="'nowhere'"):
        await broker.consume("nowhere", prefetch=1, deliver=Catch())


async def test_a_stopped_consumer_gets_nothing_more_but_can_still_settle(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    catch, consumer = await consuming(broker, "work")
    await publish(broker, to("work", b"1"))
    held = await catch.next()
    await consumer.stop()
    await publish(broker, to("work", b"2"))
    assert await held.settle() is Settlement.DONE
    await turnover(broker)
    assert catch.empty
    assert [each.body for each in await broker.inspector.browse("work", limit=9)] == [b"2"]
    await consumer.stop()


async def test_a_stop_in_the_middle_loses_nothing_and_counts_no_redelivery(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, *[to("work") for _ in range(20)])
    first, consumer = await consuming(broker, "work", prefetch=20)
    await consumer.stop()  # the claim is on its way
    stopped_with = len(first.all)
    await turnover(broker)
    assert len(first.all) == stopped_with
    second, _ = await consuming(broker, "work", prefetch=20)
    rest = await second.take(20 - stopped_with)
    assert [delivery.redeliveries for delivery in rest] == [0] * len(rest)
