"""Inspect: states, browse, rework."""

import time

import pytest

from taskq.broker.protocol import Broker, Outgoing, QueueState
from taskq.errors import Unroutable
from taskq.wire.message import Message
from tests.conformance.stand import Stand, consuming, publish, to
from tests.support.waiting import eventually


async def until_ready(broker: Broker, counts: dict[str, int]) -> None:
    """Wait until so many messages are ready; RabbitMQ counts what was given back a moment later."""

    async def counted() -> bool:
        return {each.name: each.ready for each in await broker.inspector.queues()} == counts

    await eventually(counted, f"ready: {counts}")


async def test_the_states_count_ready_unsettled_delayed_and_consumers(stand: Stand) -> None:
    broker, other = await stand.open(None, "work"), await stand.open(None, "work")
    await publish(broker, *[to("work") for _ in range(5)], to("work", not_before=time.time() + 60))
    catch, _ = await consuming(broker, "work", prefetch=2)
    await catch.take(2)
    await broker.open_inbox(lambda message: None)
    known = stand.embedded  # RabbitMQ does not tell a client what is unsettled or delayed
    expected = [
        QueueState("work", 3, 2 if known else None, 1 if known else None, 1),
        QueueState("work.dead", 0, 0 if known else None, 0 if known else None, 0),
    ]
    assert await other.inspector.queues() == expected


async def test_browsing_shows_the_oldest_first_and_leaves_them(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, *[to("work", b"%d" % n) for n in range(5)])
    for _ in range(2):
        assert [each.body for each in await broker.inspector.browse("work", limit=3)] == [b"0", b"1", b"2"]
    await until_ready(broker, {"work": 5, "work.dead": 0})
    assert await broker.inspector.browse("work.dead", limit=3) == []


async def test_what_was_looked_at_is_there_for_the_next_question(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    for _ in range(10):
        await publish(broker, *[to("work") for _ in range(20)])
        assert len(await broker.inspector.browse("work", limit=99)) == 20
        assert await broker.inspector.rework("work", lambda message: None) == 0
        assert await broker.inspector.rework("work", lambda message: []) == 20


async def test_looking_into_a_missing_queue_is_unroutable(stand: Stand) -> None:
    broker = await stand.open()
    with pytest.raises(Unroutable):
        await broker.inspector.browse("nowhere", limit=1)
    with pytest.raises(Unroutable):
        await broker.inspector.rework("nowhere", lambda message: None)


async def test_a_rework_offers_each_message_once_also_those_it_puts_back(stand: Stand) -> None:
    broker = await stand.open(None, "work", "next")
    await publish(broker, *[to("work", b"%d" % n) for n in range(250)])
    offered: list[bytes] = []

    def decide(message: Message) -> list[Outgoing] | None:
        offered.append(message.body)
        number = int(message.body)
        return [None, [], [to("work", b"1000")], [to("next", b"a"), to("next", b"b")]][number % 4]

    settled = await broker.inspector.rework("work", decide)
    assert sorted(map(int, offered)) == list(range(250))
    assert settled == sum(1 for n in range(250) if n % 4)
    left, back, sent = (sum(1 for n in range(250) if n % 4 == kind) for kind in (0, 2, 3))
    await until_ready(broker, {"next": 2 * sent, "next.dead": 0, "work": left + back, "work.dead": 0})


async def test_a_rework_leaves_alone_what_a_consumer_holds(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, to("work", b"held"), to("work", b"free"))
    catch, _ = await consuming(broker, "work")
    held = await catch.next()
    offered: list[bytes] = []

    def decide(message: Message) -> list[Outgoing]:
        offered.append(message.body)
        return []

    assert await broker.inspector.rework("work", decide) == 1
    assert offered == [b"free"]
    assert (await held.settle()).value == "done"


async def test_a_decision_that_raises_keeps_its_message_and_those_after_it(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, *[to("work", b"%d" % n) for n in range(5)])

    def decide(message: Message) -> list[Outgoing]:
        if message.body == b"2":
            raise LookupError("no idea")
        return []

    with pytest.raises(LookupError):
        await broker.inspector.rework("work", decide)
    left = [each.body for each in await broker.inspector.browse("work", limit=9)]
    assert left[-3:] == [b"2", b"3", b"4"]
