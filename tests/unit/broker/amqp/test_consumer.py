"""Consuming: slots are never overfilled, settling keeps its order, and what came back is counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from pamqp import commands

from taskq.broker.amqp.consumer import AmqpConsumer
from taskq.broker.amqp.declaring import Declarer
from taskq.broker.amqp.delays import NOT_BEFORE
from taskq.broker.amqp.lifeline import Lifeline
from taskq.broker.amqp.link import Link
from taskq.broker.amqp.plane import pendingacks
from taskq.broker.amqp.received import REDELIVERIES
from taskq.broker.protocol import Delivery, Outgoing, Settlement
from taskq.errors import BrokerBlocked, QueueMismatch, Unroutable
from taskq.lifecycle import ConsumerInterrupted, ConsumerResumed, Event
from taskq.wire.headers import EXCHANGE, JOB_ID, KEY
from taskq.wire.ids import derived_job_id
from tests.conformance.stand import to
from tests.support.amqppeer import Peer, delivery
from tests.support.waiting import until
from tests.unit.broker.amqp.test_publisher import Line, turn

Ack, Cancel, Consume, Qos = commands.Basic.Ack, commands.Basic.Cancel, commands.Basic.Consume, commands.Basic.Qos


class Broker:
    """Stands for the broker around a consumer."""

    label = "the broker"

    def __init__(self) -> None:
        self.line = Line()
        self.published: list[Outgoing] = []
        self.confirms: list[asyncio.Future[None]] = []
        self.redeclared: list[str] = []
        self.events: list[Event] = []

    @property
    def lifeline(self) -> Lifeline:
        return cast("Lifeline", self.line)

    @property
    def declarer(self) -> Declarer:
        raise NotImplementedError

    def publish_always(self, outgoing: Outgoing) -> asyncio.Future[None]:
        self.published.append(outgoing)
        self.confirms.append(asyncio.get_running_loop().create_future())
        return self.confirms[-1]

    async def redeclare(self, queue: str) -> None:
        self.redeclared.append(queue)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def kinds(self) -> list[type[Event]]:
        return [type(event) for event in self.events]


@asynccontextmanager
async def consuming(prefetch: int) -> AsyncIterator[tuple[Broker, Peer, AmqpConsumer, list[Delivery]]]:
    broker, peer, got = Broker(), Peer(), list[Delivery]()
    broker.line.connect(peer)
    consumer = AmqpConsumer(broker, "work", prefetch=prefetch, deliver=got.append)
    await consumer.open()
    yield broker, peer, consumer, got
    await consumer.close()


def interruptions(broker: Broker) -> list[ConsumerInterrupted]:
    return [event for event in broker.events if isinstance(event, ConsumerInterrupted)]


def prefetches(peer: Peer) -> list[int]:
    return [qos.prefetch_count for qos in peer.of(Qos)]


async def test_it_consumes_with_its_slots_as_prefetch_and_acks_by_hand() -> None:
    async with consuming(7) as (_, peer, _, _):
        assert prefetches(peer) == [7]
        (consume,) = peer.of(Consume)
        assert (consume.queue, consume.no_ack) == ("work", False)


async def test_a_missing_queue_is_unroutable() -> None:
    broker, peer = Broker(), Peer()
    peer.silent.add(Consume)
    broker.line.connect(peer)
    opening = asyncio.create_task(AmqpConsumer(broker, "work", prefetch=1, deliver=lambda d: None).open())
    await peer.until_got(Consume)
    peer.say(commands.Channel.Close(404, "NOT_FOUND - no queue 'work' in vhost '/'", 0, 0))
    with pytest.raises(Unroutable):
        await opening
    assert broker.events == []


@pytest.mark.parametrize(("prefetch", "at_once"), [(1, True), (2, False)])
async def test_an_ack_waits_for_others_of_its_turn_only_where_there_can_be_others(prefetch: int, at_once: bool) -> None:
    async with consuming(prefetch) as (_, peer, _, got):
        peer.deliver(1, b"job")
        assert await got[0].settle() is Settlement.DONE
        assert bool(peer.of(Ack)) is at_once
        await turn()
        assert [ack.delivery_tag for ack in peer.of(Ack)] == [1], "once"


@pytest.mark.parametrize(("running", "waits"), [(0, True), (1, False)])
async def test_an_ack_waits_for_those_of_later_turns_only_while_most_slots_are_free(
    monkeypatch: pytest.MonkeyPatch, running: int, waits: bool
) -> None:
    monkeypatch.setattr(pendingacks, "ACK_WITHIN_S", 3600.0)
    async with consuming(8) as (_, peer, _, got):
        for tag in range(1, running + 2):
            peer.deliver(tag, b"job")
        assert await got[-1].settle() is Settlement.DONE
        await turn()
        assert (peer.of(Ack) == []) is waits
    assert [ack.delivery_tag for ack in peer.of(Ack)] == [running + 1], "at the latest at the end"


async def test_a_delivery_is_acknowledged_when_all_that_replaces_it_is_confirmed() -> None:
    async with consuming(1) as (broker, peer, _, got):
        peer.deliver(1, b"job")
        settling = asyncio.create_task(got[0].settle([to("a"), to("b")]))
        await turn()
        assert [each.queue for each in broker.published] == ["a", "b"]
        broker.confirms[1].set_result(None)
        await turn()
        assert peer.of(Ack) == []
        broker.confirms[0].set_result(None)
        assert await settling is Settlement.DONE
        await peer.until_got(Ack)
        assert await got[0].settle() is Settlement.LOST


async def test_a_settle_goes_on_when_nobody_waits_for_it() -> None:
    async with consuming(1) as (broker, peer, _, got):
        peer.deliver(1, b"job")
        settling = asyncio.create_task(got[0].settle([to("a")]))
        await turn()
        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)
        broker.confirms[0].set_result(None)
        await peer.until_got(Ack)


async def test_a_refused_replacement_leaves_the_delivery_to_be_settled_in_another_way() -> None:
    async with consuming(1) as (broker, peer, _, got):
        peer.deliver(1, b"job")
        settling = asyncio.create_task(got[0].settle([to("a")]))
        await turn()
        broker.confirms[0].set_exception(BrokerBlocked("full"))
        with pytest.raises(BrokerBlocked):
            await settling
        assert peer.of(Ack) == []
        assert await got[0].settle() is Settlement.DONE
        await peer.until_got(Ack)


async def test_a_delivery_of_a_lost_channel_settles_to_nothing_and_publishes_no_more() -> None:
    async with consuming(2) as (broker, peer, _, got):
        peer.deliver(1, b"1")
        peer.deliver(2, b"2")
        settling = asyncio.create_task(got[0].settle([to("a")]))
        await turn()
        broker.line.lose()
        assert await settling is Settlement.LOST
        assert broker.confirms[0].cancelled()
        assert await got[1].settle([to("b")]) is Settlement.LOST
        assert len(broker.published) == 1


async def test_a_kept_slot_is_taken_from_the_broker_before_the_ack_gives_it_back() -> None:
    async with consuming(1) as (_, peer, _, got):
        peer.deliver(1, b"job")
        assert await got[0].settle(keep_slot=True) is Settlement.DONE
        await peer.until_got(Ack)
        assert [type(each) for _, each in peer.frames][-2:] == [Cancel, Ack]
        await turn()
        assert len(peer.of(Consume)) == 1, "nothing is consumed while the only slot is kept"
        got[0].release_slot()
        got[0].release_slot()
        await peer.until_got(Consume, 2)
        assert prefetches(peer) == [1, 1]


async def test_what_runs_and_what_is_kept_bounds_the_new_prefetch() -> None:
    async with consuming(4) as (_, peer, _, got):
        for tag in (1, 2, 3):
            peer.deliver(tag, b"job")
        await got[0].settle(keep_slot=True)
        await peer.until_got(Consume, 2)
        assert prefetches(peer)[-1] == 1, "4 slots, 1 kept, 2 running"
        await got[1].settle()
        await until(lambda: prefetches(peer)[-1] == 2)
        await got[2].settle()
        await until(lambda: prefetches(peer)[-1] == 3)
        got[0].release_slot()
        await until(lambda: prefetches(peer)[-1] == 4)
        await until(lambda: len(peer.of(Consume)) == 5)
        assert len(peer.of(Cancel)) == 4


async def test_a_consumer_that_the_broker_ended_goes_on_beside_what_still_runs() -> None:
    async with consuming(3) as (broker, peer, _, got):
        peer.deliver(1, b"running")
        peer.say(Cancel(consumer_tag="1", nowait=True))
        await until(lambda: broker.kinds() == [ConsumerInterrupted, ConsumerResumed])
        assert broker.redeclared == ["work"]
        assert prefetches(peer) == [3, 2]
        assert await got[0].settle() is Settlement.DONE
        await until(lambda: prefetches(peer) == [3, 2, 3])
        assert [number for number, each in peer.frames if isinstance(each, Ack)] == [1]
        await peer.until_got(commands.Channel.Close)
        assert [number for number, each in peer.frames if isinstance(each, commands.Channel.Close)] == [1]


async def test_after_a_lost_connection_it_consumes_again_on_the_next() -> None:
    async with consuming(3) as (broker, peer, _, got):
        peer.deliver(1, b"1")
        broker.line.lose()
        assert broker.kinds() == [ConsumerInterrupted]
        following = Peer()
        broker.line.connect(following)
        await until(lambda: broker.kinds() == [ConsumerInterrupted, ConsumerResumed])
        assert prefetches(following) == [2], "the first one still runs"
        following.deliver(1, b"again")
        assert [each.message.body for each in got] == [b"1", b"again"]
        assert await got[0].settle() is Settlement.LOST
        assert await got[1].settle() is Settlement.DONE
        await following.until_got(Ack)
        await until(lambda: prefetches(following)[-1] == 3)


async def test_a_channel_that_does_not_begin_to_consume_is_given_up_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taskq.broker.amqp.consumer._ANSWER_S", 0.05)
    async with consuming(3) as (broker, _, _, got):
        following = Peer()
        following.silent.add(Consume)  # as a channel of RabbitMQ whose quorum queue has no leader
        broker.line.lose()
        broker.line.connect(following)
        await following.until_got(commands.Channel.Close)
        following.silent.clear()
        await until(lambda: broker.kinds()[-1] is ConsumerResumed)
        assert any("has the queue lost its leader?" in event.reason for event in interruptions(broker))
        channel = [number for number, sent in following.frames if isinstance(sent, Consume)][-1]
        following.say(*delivery(1, b"again"), channel=channel)
        assert [each.message.body for each in got] == [b"again"]


async def test_what_a_quorum_queue_counted_is_told_and_no_part_of_the_message() -> None:
    async with consuming(1) as (_, peer, _, got):
        peer.deliver(1, b"job", redelivered=True, x_delivery_count=3, mine="kept")
        assert got[0].redeliveries == 3
        assert got[0].message.headers == {"mine": "kept"}


async def test_what_a_classic_queue_gave_back_is_counted_by_a_copy_before_it_is_run() -> None:
    async with consuming(1) as (broker, peer, _, got):
        peer.deliver(1, b"job", redelivered=True, taskq_redeliveries=2)
        (copy,) = broker.published
        assert got == []
        assert (copy.queue, copy.message.body) == ("work", b"job")
        assert copy.message.headers == {REDELIVERIES: 3, JOB_ID: derived_job_id("m1")}, "it stays the same job"
        assert copy.message.message_id != "m1"
        await turn()
        assert peer.of(Ack) == []
        broker.confirms[0].set_result(None)
        await peer.until_got(Ack)
        peer.deliver(2, b"job", taskq_redeliveries=3)
        assert (got[0].redeliveries, got[0].message.headers) == (3, {})


async def test_a_copy_that_cannot_be_published_does_not_keep_the_job_from_running() -> None:
    async with consuming(1) as (broker, peer, _, got):
        peer.deliver(1, b"job", redelivered=True)
        broker.confirms[0].set_exception(BrokerBlocked("full"))
        await until(lambda: got)
        assert got[0].redeliveries == 1


async def test_what_comes_out_of_the_ladder_too_early_goes_round_again() -> None:
    async with consuming(1) as (broker, peer, _, got):
        peer.deliver(1, b"job", taskq_not_before=4_000_000_000_500)
        (copy,) = broker.published
        assert (copy.queue, copy.not_before, got) == ("work", 4_000_000_000.5, [])
        assert NOT_BEFORE not in copy.message.headers
        broker.confirms[0].set_result(None)
        await peer.until_got(Ack)


async def test_where_a_message_was_published_is_told_and_kept_by_copies() -> None:
    async with consuming(9) as (broker, peer, _, got):
        peer.deliver(1, b"event", exchange="logs", key="a.b", mine="kept")
        peer.deliver(2, b"job")
        peer.deliver(3, b"delayed", exchange="taskq.delay.50x28.out", key="0.1.work")
        peer.deliver(4, b"copy", exchange="other", key="x", taskq_exchange="logs", taskq_key="a.b")
        published = {EXCHANGE: "logs", KEY: "a.b"}
        assert [each.message.headers for each in got] == [{"mine": "kept", **published}, {}, {}, published]
        peer.deliver(5, b"event", redelivered=True, exchange="logs", key="a.b")
        assert broker.published[0].message.headers == {**published, REDELIVERIES: 1, JOB_ID: derived_job_id("m5")}
        assert (broker.published[0].exchange, broker.published[0].queue) == ("", "work")
        broker.confirms[0].set_result(None)  # the end waits for it


async def test_a_queue_of_its_own_is_prepared_each_time_on_the_connection_that_it_is_consumed_on() -> None:
    broker, peer, following = Broker(), Peer(), Peer()
    prepared: list[tuple[object, bool]] = []
    refusals = 2
    resumed: list[float] = []

    async def prepare(link: Link, ended: bool) -> None:
        nonlocal refusals
        prepared.append((link, ended))
        if len(prepared) > 1 and refusals:
            refusals -= 1
            raise QueueMismatch("work", {"exclusive": (True, True)})

    broker.line.connect(peer)
    consumer = AmqpConsumer(
        broker, "work", prefetch=1, deliver=lambda delivery: None, prepare=prepare, resumed=resumed.append
    )
    await consumer.open()
    assert (prepared, resumed) == ([(peer, False)], [])
    broker.line.lose()
    broker.line.connect(following)
    await until(lambda: resumed)
    assert prepared == [(peer, False), *3 * [(following, False)]]
    assert resumed[0] > 0.1, "two pauses between three tries"
    following.say(Cancel(consumer_tag="1", nowait=True))
    await until(lambda: len(resumed) == 2)
    assert prepared[4:] == [(following, True)]
    assert broker.redeclared == []
    await consumer.close()


async def test_what_is_given_back_is_a_copy_with_its_count_and_then_an_ack() -> None:
    async with consuming(2) as (broker, peer, _, got):
        peer.deliver(1, b"job", redelivered=True, x_delivery_count=2, taskq_redeliveries=1)
        giving = asyncio.create_task(got[0].give_back())
        await turn()
        (copy,) = broker.published
        assert (copy.queue, copy.message.body, copy.message.headers[REDELIVERIES]) == ("work", b"job", 3)
        assert peer.of(Ack) == []
        assert not await got[0].is_ours(), "it is being given back"
        broker.confirms[0].set_result(None)
        assert await giving is Settlement.DONE
        await peer.until_got(Ack)


async def test_what_cannot_be_given_back_is_still_ours() -> None:
    async with consuming(1) as (broker, peer, _, got):
        peer.deliver(1, b"job")
        giving = asyncio.create_task(got[0].give_back())
        await turn()
        broker.confirms[0].set_exception(BrokerBlocked("full"))
        with pytest.raises(BrokerBlocked):
            await giving
        assert await got[0].is_ours()
        broker.line.lose()
        assert not await got[0].is_ours()
        assert await got[0].give_back() is Settlement.LOST


async def test_a_paused_consumer_is_cancelled_and_the_broker_has_its_acks_when_the_pause_begins() -> None:
    async with consuming(3) as (_, peer, consumer, got):
        peer.deliver(1, b"1")
        peer.deliver(2, b"2")
        await got[0].settle()
        peer.silent.add(Qos)
        pausing = asyncio.create_task(consumer.set_prefetch(0))
        await peer.until_got(Qos, 2)
        assert [type(each) for _, each in peer.frames][-4:] == [Ack, commands.Queue.Declare, Cancel, Qos]
        assert not pausing.done(), "it waits for an answer to what came behind the ack"
        peer.say(commands.Basic.QosOk())
        await pausing
        await got[1].settle()
        await turn()
        assert len(peer.of(Consume)) == 1, "a slot that is free now is not used"
        peer.silent.clear()
        await consumer.set_prefetch(2)
        assert len(peer.of(Consume)) == 2
        assert prefetches(peer)[-2:] == [2, 2]


async def test_acks_are_withheld_from_a_cancel_until_nothing_is_on_its_way_and_leave_behind_it() -> None:
    async with consuming(3) as (_, peer, consumer, got):
        peer.deliver(1, b"1")
        peer.silent.add(commands.Queue.Declare)
        pausing = asyncio.create_task(consumer.set_prefetch(0))
        await peer.until_got(commands.Queue.Declare)
        await got[0].settle()
        peer.say(commands.Queue.DeclareOk("work", 5, 1))
        await peer.until_got(commands.Queue.Declare, 2)
        assert (peer.of(Ack), peer.of(Cancel)) == ([], []), "the queue has more, and there is room for it"
        peer.deliver(2, b"2")
        peer.deliver(3, b"3")
        peer.say(commands.Queue.DeclareOk("work", 3, 1))
        await pausing
        await turn()
        assert [type(each) for _, each in peer.frames if isinstance(each, Ack | Cancel)] == [Cancel, Ack]
        assert [ack.delivery_tag for ack in peer.of(Ack)] == [1]


async def test_a_stop_does_not_wait_for_a_broker_that_does_not_say_what_is_on_its_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taskq.broker.amqp.feed._QUIET_S", 0.05)
    monkeypatch.setattr("taskq.broker.amqp.feed._CLOSE_S", 0.05)
    async with consuming(3) as (_, peer, consumer, _):
        peer.silent.add(commands.Queue.Declare)
        await consumer.stop()
        assert len(peer.of(Cancel)) == 1


async def test_a_pause_waits_for_what_the_consumer_itself_sends_round() -> None:
    async with consuming(3) as (broker, peer, consumer, _):
        peer.deliver(1, b"job", redelivered=True)
        pausing = asyncio.create_task(consumer.set_prefetch(0))
        await peer.until_got(Cancel)
        await turn()
        assert not pausing.done()
        broker.confirms[0].set_result(None)
        await pausing


async def test_a_consumer_that_is_paused_over_a_loss_consumes_nothing_until_it_has_slots_again() -> None:
    async with consuming(3) as (broker, _, consumer, _):
        await consumer.set_prefetch(0)
        following = Peer()
        broker.line.lose()
        broker.line.connect(following)
        await until(lambda: broker.kinds() == [ConsumerInterrupted, ConsumerResumed])
        assert following.of(Consume) == []
        await consumer.set_prefetch(4)
        assert len(following.of(Consume)) == 1


async def test_a_pause_does_not_wait_for_a_broker_that_is_gone() -> None:
    async with consuming(3) as (broker, peer, consumer, _):
        peer.silent.add(Cancel)
        pausing = asyncio.create_task(consumer.set_prefetch(0))
        await peer.until_got(Cancel)
        broker.line.lose()
        await pausing


async def test_a_stop_takes_no_more_and_lets_the_rest_be_settled() -> None:
    async with consuming(2) as (_, peer, consumer, got):
        peer.deliver(1, b"job")
        await consumer.stop()
        await consumer.stop()
        assert len(peer.of(Cancel)) == 1
        assert await got[0].settle() is Settlement.DONE
        await peer.until_got(Ack)


async def test_a_close_waits_for_settles_under_way_and_acknowledges_them_first() -> None:
    async with consuming(2) as (broker, peer, consumer, got):
        peer.deliver(1, b"job")
        settling = asyncio.create_task(got[0].settle([to("a")]))
        await turn()
        closing = asyncio.create_task(consumer.close())
        await turn()
        broker.confirms[0].set_result(None)
        await closing
        assert await settling is Settlement.DONE
        assert [type(each) for _, each in peer.frames][-2:] == [Ack, commands.Channel.Close]
        assert await got[0].settle() is Settlement.LOST
