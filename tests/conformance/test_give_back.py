"""Pausing a consumer, and giving deliveries back: what isolates a job is made of these."""

import asyncio

import pytest

from taskq.broker.protocol import Consumer, Outgoing, Settlement
from taskq.tasks.exchanges import ExchangeDefinition
from taskq.tasks.queues import Queue
from taskq.wire.headers import JOB_ID
from taskq.wire.ids import derived_job_id, new_job_id
from taskq.wire.job import job_id_of, new_job
from tests.conformance.stand import (
    Catch,
    Stand,
    consuming,
    message,
    publish,
    subscribed,
    temporary,
    through,
    to,
    turnover,
)
from tests.support.waiting import eventually


async def filled(stand: Stand, count: int, *, prefetch: int) -> tuple[Catch, Consumer]:
    """A consumer of the queue ``work`` with so many messages, which has taken what it may."""
    broker = await stand.open(None, "work")
    await publish(broker, *[to("work", b"%d" % n) for n in range(count)])
    catch, consumer = await consuming(broker, "work", prefetch=prefetch)
    await eventually(lambda: len(catch.all) == min(count, prefetch), "it has taken what it may")
    return catch, consumer


async def test_a_paused_consumer_takes_nothing_until_it_has_slots_again(stand: Stand) -> None:
    catch, consumer = await filled(stand, 10, prefetch=3)
    await consumer.set_prefetch(0)
    held = len(catch.all)
    for delivery in list(catch.all):
        assert await delivery.settle() is Settlement.DONE
    other = await stand.open()
    await turnover(other)
    assert len(catch.all) == held
    (state,) = [each for each in await other.inspector.queues(["work"]) if each.name == "work"]
    assert state.ready == 10 - held
    await consumer.set_prefetch(5)
    await eventually(lambda: len(catch.all) == min(10, held + 5), "it takes as many as it may now")
    assert {delivery.redeliveries for delivery in catch.all} == {0}


async def test_what_a_paused_consumer_does_not_take_is_there_for_others(stand: Stand) -> None:
    catch, consumer = await filled(stand, 2, prefetch=1)
    await consumer.set_prefetch(0)
    other, _ = await consuming(await stand.open(), "work", prefetch=9)
    assert (await other.next()).message.body == b"1"
    assert [delivery.message.body for delivery in catch.all] == [b"0"]


async def test_fewer_slots_hold_as_soon_as_what_was_taken_is_settled(stand: Stand) -> None:
    catch, consumer = await filled(stand, 20, prefetch=6)
    await consumer.set_prefetch(2)
    for _ in range(6):
        await catch.settled()
    catch.most_open = 0
    for _ in range(14):
        await catch.settled()
    assert 1 <= catch.most_open <= 2


async def test_a_consumer_paused_again_and_again_loses_doubles_and_counts_nothing(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, *[to("work", b"%d" % n) for n in range(300)])
    catch, consumer = await consuming(broker, "work", prefetch=9)

    async def work() -> None:
        while True:
            assert await (await catch.next()).settle() is Settlement.DONE

    working = asyncio.create_task(work())
    while len(catch.all) < 300:
        for slots in (0, 1, 0, 9):
            await consumer.set_prefetch(slots)
            await turnover(broker)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert sorted(int(delivery.message.body) for delivery in catch.all) == list(range(300))
    assert {delivery.redeliveries for delivery in catch.all} == {0}, "a quorum queue counts what a cancel overtakes"


async def test_a_paused_temporary_queue_keeps_what_is_published(stand: Stand) -> None:
    broker = await stand.open()
    await broker.declare([], exchanges=[ExchangeDefinition(name="news", kind="fanout")])
    catch, consumer = await subscribed(broker, temporary(("news", "")))
    await consumer.set_prefetch(0)
    await publish(broker, through("news", body=b"1"))
    await turnover(broker)
    assert catch.empty
    await consumer.set_prefetch(1)
    assert await catch.settled() == b"1"


async def test_what_is_given_back_is_delivered_again_and_counts_no_redelivery(stand: Stand) -> None:
    catch, _ = await filled(stand, 1, prefetch=1)
    first = await catch.next()
    assert await first.give_back() is Settlement.DONE
    second = await catch.next()
    assert (second.message.body, second.redeliveries) == (b"0", 0)
    assert await second.settle() is Settlement.DONE


@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_what_is_given_back_keeps_its_count_and_goes_on_counting(stand: Stand, kind: str) -> None:
    broker = await stand.open(None, Queue("work", type=kind))  # type: ignore[arg-type]
    await publish(broker, to("work"))
    for deaths in range(3):
        catch, consumer = await consuming(broker, "work")
        delivery = await catch.next()
        assert delivery.redeliveries == deaths
        assert await delivery.give_back() is Settlement.DONE
        again = await catch.next()
        assert again.redeliveries == deaths
        await consumer.close()


async def test_a_delivery_is_ours_until_it_is_settled_given_back_or_lost(stand: Stand) -> None:
    catch, consumer = await filled(stand, 3, prefetch=3)
    settled, given, lost = await catch.take(3)
    assert await asyncio.gather(*(each.is_ours() for each in (settled, given, lost))) == [True] * 3
    await consumer.set_prefetch(0)
    await settled.settle()
    await given.give_back()
    await consumer.close()
    assert await asyncio.gather(*(each.is_ours() for each in (settled, given, lost))) == [False] * 3
    for each in (settled, given, lost):
        assert await each.give_back() is Settlement.LOST
        assert await each.settle([to("work", b"doubled")]) is Settlement.LOST
    again, _ = await consuming(await stand.open(), "work", prefetch=9)
    found = await again.take(2)
    assert {(each.message.body, each.redeliveries) for each in found} == {(b"1", 0), (b"2", 1)}
    await turnover(await stand.open())
    assert again.empty


async def test_a_job_that_is_given_back_stays_the_same_job(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    ours = new_job(task="t", job_id=new_job_id(), queue="work", body=b"{}", now=1e9, headers={"tenant": "a"})
    foreign = message(b"[]", correlation_id="1", reply_to="somewhere", headers={"x": "y"})
    await publish(broker, Outgoing(ours, "work"), Outgoing(foreign, "work"))
    catch, _ = await consuming(broker, "work", prefetch=2)
    for delivery in await catch.take(2):
        await delivery.give_back()
    again = {delivery.message.body: delivery.message for delivery in await catch.take(2)}
    assert job_id_of(again[b"{}"]) == ours.correlation_id
    assert again[b"{}"].headers == ours.headers
    assert job_id_of(again[b"[]"]) == derived_job_id(foreign.message_id)
    kept = {name: value for name, value in again[b"[]"].headers.items() if name != JOB_ID}
    assert (kept, again[b"[]"].correlation_id, again[b"[]"].reply_to) == ({"x": "y"}, "1", "somewhere")
