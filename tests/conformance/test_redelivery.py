"""Redelivery: what a consumer, a process or a limit leads to when a delivery is not settled."""

import time

from taskq.broker.protocol import Settlement
from taskq.tasks.queues import Queue
from taskq.wire.dead import read_dead_letter
from tests.conformance.stand import Stand, consuming, publish, to, turnover


async def test_a_closed_consumer_gives_its_deliveries_back(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, to("work", b"1"), to("work", b"2"))
    first, consumer = await consuming(broker, "work", prefetch=2)
    await first.take(2)
    await consumer.close()
    await consumer.close()
    second, _ = await consuming(broker, "work", prefetch=2)
    again = await second.take(2)
    assert {(delivery.message.body, delivery.redeliveries) for delivery in again} == {(b"1", 1), (b"2", 1)}
    assert {d.message.message_id for d in first.all} == {d.message.message_id for d in again}


async def test_a_closed_broker_gives_its_deliveries_back(stand: Stand) -> None:
    other = await stand.open(None, "work")
    await publish(other, to("work"))
    async with stand.new() as broker:
        catch, _ = await consuming(broker, "work")
        held = await catch.next()
    second, _ = await consuming(other, "work")
    assert (await second.next()).redeliveries == 1
    assert await held.settle() is Settlement.LOST


async def test_a_lost_delivery_settles_to_nothing(stand: Stand) -> None:
    broker = await stand.open(None, "work", "next")
    await publish(broker, to("work"))
    first, consumer = await consuming(broker, "work")
    lost = await first.next()
    await consumer.close()
    assert await lost.settle([to("next")]) is Settlement.LOST
    assert await broker.inspector.browse("next", limit=9) == []
    second, _ = await consuming(broker, "work")
    ours = await second.next()
    assert await lost.settle() is Settlement.LOST
    assert await ours.settle() is Settlement.DONE


async def test_a_killed_process_gives_its_deliveries_back_at_once(lasting: Stand) -> None:
    broker = await lasting.open(None, "work")
    await publish(broker, *[to("work", b"%d" % n) for n in range(3)])
    holder = await lasting.holding_process("work", count=3)
    catch, _ = await consuming(broker, "work", prefetch=3)
    await turnover(broker)
    assert catch.empty
    killed = time.monotonic()
    holder.kill()
    again = await catch.take(3)
    assert time.monotonic() - killed < 3.0
    assert {delivery.redeliveries for delivery in again} == {1}
    assert (await broker.inspector.queues())[0].consumers == 1


async def test_a_message_above_the_delivery_limit_becomes_a_dead_letter(stand: Stand) -> None:
    broker = await stand.open(None, Queue("work", delivery_limit=2))
    sent = to("work", b"poison")
    await publish(broker, sent)
    seen: list[int] = []
    for _ in range(3):
        catch, consumer = await consuming(broker, "work")
        seen.append((await catch.next()).redeliveries)
        await consumer.close()
    assert seen == [0, 1, 2]
    assert await broker.inspector.browse("work", limit=9) == []
    (dead,) = await broker.inspector.browse("work.dead", limit=9)
    assert dead.body == b"poison"
    assert read_dead_letter(dead, "work").reason == "delivery-limit"


async def test_a_dead_letter_that_the_broker_moved_wakes_who_waits_for_it(stand: Stand) -> None:
    broker = await stand.open(None, Queue("work", delivery_limit=1))
    letters, _ = await consuming(broker, "work.dead")
    await publish(broker, to("work", b"poison"))
    for _ in range(2):
        catch, consumer = await consuming(broker, "work")
        await catch.next()
        await consumer.close()
    assert await letters.settled() == b"poison"


async def test_the_death_of_processes_counts_towards_the_delivery_limit(lasting: Stand) -> None:
    broker = await lasting.open(None, Queue("work", delivery_limit=1))
    await publish(broker, to("work", b"poison"))
    letters, _ = await consuming(broker, "work.dead")
    for _ in range(2):
        holder = await lasting.holding_process("work", count=1)
        holder.kill()
    assert await letters.settled() == b"poison"
