"""Settle: replacements and removal as one, slots, and what a failed settle leaves."""

import asyncio

import pytest

from taskq.broker.protocol import Settlement
from taskq.errors import Unroutable
from tests.conformance.stand import Stand, consuming, publish, to, turnover


async def test_a_settle_removes_the_delivery_and_stores_what_replaces_it(stand: Stand) -> None:
    broker = await stand.open(None, "work", "next")
    await publish(broker, to("work"))
    catch, consumer = await consuming(broker, "work")
    delivery = await catch.next()
    replacements = [to("next", b"1"), to("next", b"2"), to("work.dead", b"3")]
    assert await delivery.settle(replacements) is Settlement.DONE
    await consumer.close()
    assert [each.body for each in await broker.inspector.browse("next", limit=9)] == [b"1", b"2"]
    assert [each.body for each in await broker.inspector.browse("work.dead", limit=9)] == [b"3"]
    assert await broker.inspector.browse("work", limit=9) == []


async def test_a_settle_whose_replacement_has_no_queue_changes_nothing_and_can_be_repeated(stand: Stand) -> None:
    broker = await stand.open(None, "work", "next")
    await publish(broker, to("work", b"1"), to("work", b"2"))
    catch, _ = await consuming(broker, "work")
    delivery = await catch.next()
    with pytest.raises(Unroutable):
        await delivery.settle([to("next"), to("nowhere")])
    await turnover(broker)
    assert catch.empty, "the slot is taken as long as the delivery is not settled"
    before = len(await broker.inspector.browse("next", limit=9))
    assert before == 0 or not stand.embedded, "the embedded broker stores all of it, or nothing"
    assert await delivery.settle([to("next")]) is Settlement.DONE
    assert await catch.settled() == b"2"
    assert len(await broker.inspector.browse("next", limit=9)) == before + 1


async def test_a_reply_whose_queue_is_gone_does_not_keep_a_delivery_from_being_settled(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, to("work"))
    catch, consumer = await consuming(broker, "work")
    delivery = await catch.next()
    assert await delivery.settle([to("taskq.reply.gone", mandatory=False)]) is Settlement.DONE
    await consumer.close()
    assert [queue.ready for queue in await broker.inspector.queues()] == [0, 0]


async def test_a_settle_frees_the_slot_for_the_next_delivery(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, to("work", b"1"), to("work", b"2"))
    catch, _ = await consuming(broker, "work")
    assert [await catch.settled(), await catch.settled()] == [b"1", b"2"]


async def test_a_replacement_on_the_same_queue_comes_back_to_the_consumer(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, to("work", b"1"))
    catch, _ = await consuming(broker, "work")
    await (await catch.next()).settle([to("work", b"2")])
    assert await catch.settled() == b"2"


async def test_a_kept_slot_is_free_only_when_it_is_released(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, to("work", b"1"), to("work", b"2"), to("work", b"3"))
    catch, _ = await consuming(broker, "work")
    kept = await catch.next()
    assert await kept.settle(keep_slot=True) is Settlement.DONE
    await turnover(broker)
    assert catch.empty
    kept.release_slot()
    kept.release_slot()
    second = await catch.next()
    await turnover(broker)
    assert catch.empty, "a second release frees nothing"
    second.release_slot()
    await turnover(broker)
    assert catch.empty, "a release without a kept slot frees nothing"
    await second.settle()
    second.release_slot()
    assert await catch.settled() == b"3"


async def test_a_second_settle_changes_nothing(stand: Stand) -> None:
    broker = await stand.open(None, "work", "next")
    await publish(broker, *[to("work") for _ in range(5)])
    catch, _ = await consuming(broker, "work")
    delivery = await catch.next()
    both = await asyncio.gather(delivery.settle([to("next")]), delivery.settle([to("next")]))
    assert sorted(each.value for each in both) == ["done", "lost"]
    await turnover(broker)
    assert len(await broker.inspector.browse("next", limit=9)) == 1
    assert len(catch.all) == 2, "one slot was freed, not two"


async def test_cancelling_the_wait_for_a_settle_harms_nobody_else(stand: Stand) -> None:
    broker = await stand.open(None, "work", "next")
    await publish(broker, to("work", b"1"), to("work", b"2"))
    catch, _ = await consuming(broker, "work")
    delivery = await catch.next()
    settling = asyncio.create_task(delivery.settle([to("next")]))
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    assert await catch.settled() == b"2"
