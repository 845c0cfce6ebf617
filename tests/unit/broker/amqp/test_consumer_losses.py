"""Consuming over losses: what still runs has its slot, what keeps the consumer away is told, and a stop ends it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from pamqp import commands

from taskq.broker.amqp.consumer import AmqpConsumer
from taskq.broker.amqp.outbox import failed
from taskq.broker.amqp.plane.numbers import ChannelNumbers
from taskq.broker.protocol import Delivery, Settlement
from taskq.errors import AccessRefused, BrokerError, QueueMismatch, Unroutable, UsageError
from taskq.lifecycle import ConsumerInterrupted, ConsumerResumed
from tests.conformance.stand import to
from tests.support.amqppeer import Peer, delivery
from tests.support.waiting import until
from tests.unit.broker.amqp.test_consumer import Broker, consuming, prefetches
from tests.unit.broker.amqp.test_publisher import turn

Ack, Cancel, Close, Consume = commands.Basic.Ack, commands.Basic.Cancel, commands.Channel.Close, commands.Basic.Consume
MISMATCH = QueueMismatch("work", {"x-overflow": ("reject-publish", None)})


def reconnect(broker: Broker) -> Peer:
    """Lose the connection and bring the next one."""
    broker.line.lose()
    following = Peer()
    broker.line.connect(following)
    return following


async def resumed(broker: Broker, times: int = 1) -> None:
    await until(lambda: broker.kinds().count(ConsumerResumed) == times)


def reasons(broker: Broker) -> list[str]:
    return [event.reason for event in broker.events if isinstance(event, ConsumerInterrupted)]


# Slots.


async def test_what_still_runs_from_a_lost_connection_has_its_slot_until_it_settles_to_nothing() -> None:
    async with consuming(3) as (broker, peer, _, got):
        peer.deliver(1, b"1")
        peer.deliver(2, b"2")
        second = reconnect(broker)
        await resumed(broker)
        assert prefetches(second) == [1]
        second.deliver(1, b"3")
        third = reconnect(broker)
        await resumed(broker, 2)
        assert prefetches(third) == [], "all three slots are taken"
        assert await got[1].settle([to("a")]) is Settlement.LOST
        assert await got[1].settle() is Settlement.LOST
        await third.until_got(Consume)
        assert prefetches(third) == [1], "a second settle frees nothing"
        assert [await got[0].settle(), await got[2].settle()] == [Settlement.LOST] * 2
        await until(lambda: prefetches(third)[-1] == 3)
        assert broker.published == []


async def test_a_settle_that_the_loss_overtakes_frees_its_slot() -> None:
    async with consuming(1) as (broker, peer, _, got):
        peer.deliver(1, b"1")
        settling = asyncio.create_task(got[0].settle([to("a")]))
        await turn()
        following = reconnect(broker)
        assert await settling is Settlement.LOST
        await following.until_got(Consume)
        assert prefetches(following) == [1]


async def test_a_thread_that_overruns_keeps_the_slot_of_a_lost_delivery() -> None:
    async with consuming(1) as (broker, peer, _, got):
        peer.deliver(1, b"1")
        following = reconnect(broker)
        await resumed(broker)
        assert await got[0].settle(keep_slot=True) is Settlement.LOST
        await turn()
        assert following.of(Consume) == []
        got[0].release_slot()
        got[0].release_slot()
        await following.until_got(Consume)
        await turn()
        assert prefetches(following) == [1]


async def test_a_slot_that_is_kept_stays_taken_over_a_loss() -> None:
    async with consuming(2) as (broker, peer, _, got):
        peer.deliver(1, b"1")
        await got[0].settle(keep_slot=True)
        await peer.until_got(Consume, 2)
        following = reconnect(broker)
        await resumed(broker)
        assert prefetches(following) == [1]
        got[0].release_slot()
        await until(lambda: prefetches(following) == [1, 2])


async def test_what_comes_late_on_a_former_channel_is_settled_there() -> None:
    async with consuming(3) as (broker, peer, _, got):
        peer.deliver(1, b"running")
        peer.say(Cancel(consumer_tag="1", nowait=True))
        await resumed(broker)
        peer.say(*delivery(2, b"late"), channel=1)
        peer.say(Cancel(consumer_tag="1", nowait=True), channel=1)
        peer.say(*delivery(1, b"new"), channel=2)
        assert [each.message.body for each in got] == [b"running", b"late", b"new"]
        assert [await each.settle() for each in got] == [Settlement.DONE] * 3
        await peer.until_got(Close)
        assert [(number, ack.delivery_tag) for number, ack in peer.frames if isinstance(ack, Ack)] == [(1, 2), (2, 1)]
        assert broker.kinds() == [ConsumerInterrupted, ConsumerResumed]
        await until(lambda: prefetches(peer)[-1] == 3)


async def test_what_amqp_cannot_carry_is_told_and_the_delivery_can_be_settled_in_another_way() -> None:
    async with consuming(1) as (broker, peer, _, got):
        peer.deliver(1, b"job")
        publish = broker.publish_always

        def refuse(outgoing: object) -> asyncio.Future[None]:
            if broker.published:
                return failed(asyncio.get_running_loop().create_future(), UsageError("AMQP cannot carry this message"))
            return publish(outgoing)  # type: ignore[arg-type]

        broker.publish_always = refuse  # type: ignore[method-assign, assignment]
        settling = asyncio.ensure_future(got[0].settle([to("reply"), to("work.dead")]))
        await until(lambda: broker.confirms)
        broker.confirms[0].set_result(None)
        with pytest.raises(UsageError):
            await settling
        assert await got[0].settle() is Settlement.DONE


# What is told.


@asynccontextmanager
async def interrupted(*errors: BrokerError) -> AsyncIterator[tuple[Broker, Peer]]:
    """A consumer whose queue was deleted, and cannot be declared again for these reasons, one at each try."""
    async with consuming(1) as (broker, peer, _, _):
        left = list(errors)

        async def redeclare(queue: str) -> None:
            broker.redeclared.append(queue)
            if left:
                raise left.pop(0)

        broker.redeclare = redeclare  # type: ignore[method-assign]
        peer.say(Cancel(consumer_tag="1", nowait=True))
        yield broker, peer


async def test_why_a_queue_cannot_be_consumed_again_is_told_once_for_each_reason() -> None:
    refused = AccessRefused("the user 'ada' lacks the 'configure' permission")
    async with interrupted(MISMATCH, MISMATCH, refused, MISMATCH, refused) as (broker, _):
        await resumed(broker)
        assert len(broker.redeclared) == 6
        assert reasons(broker)[1:] == [str(MISMATCH), str(refused)]
        assert "deleted" in reasons(broker)[0]


async def test_the_next_interruption_is_told_anew() -> None:
    async with interrupted(MISMATCH) as (broker, peer):
        await resumed(broker)
        peer.say(Cancel(consumer_tag="1", nowait=True), channel=2)
        await resumed(broker, 2)
        assert broker.kinds() == [ConsumerInterrupted] * 2 + [ConsumerResumed, ConsumerInterrupted, ConsumerResumed]


async def test_a_queue_that_is_not_there_is_told_in_words_for_who_consumes() -> None:
    async with interrupted(Unroutable("work")) as (broker, _):
        await resumed(broker)
        assert reasons(broker)[1] == "queue 'work' does not exist; it is consumed as soon as somebody declares it"


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (404, "NOT_FOUND - no queue 'work' in vhost '/'", "404 NOT_FOUND - no queue 'work' in vhost '/'"),
        (
            403,
            "ACCESS_REFUSED - access to queue 'work' in vhost '/' refused for user 'ada'",
            "the broker: the user 'ada' lacks the 'read' permission for queue 'work' in the virtual host '/'; give it",
        ),
    ],
)
async def test_a_consumer_that_is_refused_at_each_try_is_told_once(code: int, text: str, expected: str) -> None:
    async with consuming(1) as (broker, peer, _, _):
        peer.silent.add(Consume)
        peer.say(Cancel(consumer_tag="1", nowait=True))
        for tries in (2, 3):
            await peer.until_got(Consume, tries)
            peer.say(Close(code, text, 0, 0), channel=peer.frames[-1][0])
        await peer.until_got(Consume, 4)
        peer.silent.clear()
        peer.say(commands.Basic.ConsumeOk(consumer_tag="4"), channel=peer.frames[-1][0])
        await resumed(broker)
        first, *others = reasons(broker)
        assert "deleted" in first
        assert len(others) == 1
        assert others[0].startswith(expected)


async def test_a_lost_connection_is_not_told_as_a_trouble_of_the_queue() -> None:
    async with consuming(1) as (broker, _, _, _):

        async def redeclare(queue: str) -> None:
            if broker.line.peer is second:
                reconnect(broker)
                raise BrokerError("the connection was lost")

        broker.redeclare = redeclare  # type: ignore[method-assign]
        second = reconnect(broker)
        await resumed(broker)
        assert reasons(broker) == ["the line is cut"]


# Opening and stopping.


async def test_opening_without_a_free_channel_is_an_error_and_no_endless_loop() -> None:
    broker, peer = Broker(), Peer()
    peer.numbers = ChannelNumbers(1)
    peer.numbers.take()
    broker.line.connect(peer)
    with pytest.raises(BrokerError, match="all 1 channels of the connection are in use"):
        await AmqpConsumer(broker, "work", prefetch=1, deliver=lambda d: None).open()


async def test_opening_goes_on_over_a_lost_connection() -> None:
    broker, peer = Broker(), Peer()
    peer.silent.add(Consume)
    broker.line.connect(peer)
    consumer = AmqpConsumer(broker, "work", prefetch=2, deliver=lambda d: None)
    opening = asyncio.create_task(consumer.open())
    await peer.until_got(Consume)
    following = reconnect(broker)
    await opening
    assert prefetches(following) == [2]
    assert broker.events == []
    await consumer.close()


@asynccontextmanager
async def swallowing(goes_on: Callable[[asyncio.Event], object]) -> AsyncIterator[tuple[Broker, Peer, AmqpConsumer]]:
    """A consumer that is declaring its queue, in a client library that swallows one cancellation."""
    async with consuming(1) as (broker, peer, consumer, _):
        declaring, released = asyncio.Event(), asyncio.Event()

        async def redeclare(queue: str) -> None:
            declaring.set()
            try:
                await released.wait()
            except asyncio.CancelledError:
                goes_on(released)
            await released.wait()

        broker.redeclare = redeclare  # type: ignore[method-assign]
        peer.say(Cancel(consumer_tag="1", nowait=True))
        await declaring.wait()
        yield broker, peer, consumer
        released.set()


async def test_a_swallowed_cancellation_does_not_keep_a_stopped_consumer_alive() -> None:
    async with swallowing(asyncio.Event.set) as (broker, peer, consumer):
        await consumer.stop()
        await turn()
        assert len(peer.of(Consume)) == 1
        assert ConsumerResumed not in broker.kinds()


async def test_a_stop_waits_no_longer_than_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskq.broker.amqp.consumer._CLOSE_S", 0.05)
    async with swallowing(lambda released: None) as (_, peer, consumer):
        async with asyncio.timeout(2):
            await consumer.stop()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    assert len(peer.of(Consume)) == 1


async def test_deliveries_that_came_before_the_stop_can_still_be_settled_on_a_lost_channel() -> None:
    got: list[Delivery] = []
    broker, peer = Broker(), Peer()
    broker.line.connect(peer)
    consumer = AmqpConsumer(broker, "work", prefetch=1, deliver=got.append)
    await consumer.open()
    peer.deliver(1, b"job")
    await consumer.stop()
    broker.line.lose()
    assert await got[0].settle(keep_slot=True) is Settlement.LOST
    got[0].release_slot()
    await consumer.close()
    assert broker.events == []
