"""What RabbitMQ does from 4.3 on, by a scripted peer: it ends one consumer where older ones close the channel, it
counts redeliveries otherwise, and it refuses queues that older ones make.

https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout, and the release notes of 4.3
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from pamqp import commands
from pamqp.base import Frame

from taskq import Queue
from taskq.broker.amqp.consumer import AmqpConsumer
from taskq.broker.amqp.declaring import Declarer
from taskq.broker.amqp.inbox import AmqpInbox
from taskq.broker.amqp.ladder import LADDER, way_out
from taskq.broker.amqp.received import REDELIVERIES
from taskq.broker.amqp.surroundings import Surroundings
from taskq.broker.amqp.topology import Topology, temporary_queue
from taskq.broker.protocol import Delivery, Settlement
from taskq.errors import BrokerError
from taskq.lifecycle import ConsumerInterrupted, ConsumerResumed
from taskq.tasks.exchanges import TemporaryQueue
from taskq.wire.headers import JOB_ID
from taskq.wire.ids import derived_job_id
from tests.conformance.stand import to
from tests.support.amqppeer import Peer, delivery
from tests.support.waiting import until
from tests.unit.broker.amqp.test_consumer import Broker, consuming, prefetches
from tests.unit.broker.amqp.test_publisher import turn

Ack, Cancel, CancelOk, Close = (
    commands.Basic.Ack,
    commands.Basic.Cancel,
    commands.Basic.CancelOk,
    commands.Channel.Close,
)
Consume, Qos, Declare = commands.Basic.Consume, commands.Basic.Qos, commands.Queue.Declare
TIMED_OUT = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms"


def timeout(peer: Peer, channel: int = 1) -> None:
    """End a consumer as the ack timeout does."""
    tag = [got.consumer_tag for number, got in peer.frames if number == channel and isinstance(got, Consume)][-1]
    peer.say(Cancel(tag, True), channel=channel)


def acks(peer: Peer) -> list[tuple[int, int, bool]]:
    """Return channel, tag and `multiple` of each ack."""
    return [(number, got.delivery_tag, got.multiple) for number, got in peer.frames if isinstance(got, Ack)]


async def consumed_again(broker: Broker, times: int = 1) -> None:
    await until(lambda: broker.kinds().count(ConsumerResumed) == times)


# The ack timeout.


async def test_a_timeout_ends_one_consumer_which_consumes_again_with_the_slots_that_are_left() -> None:
    async with consuming(3) as (broker, peer, _, got):
        peer.deliver(1, b"hangs")
        peer.deliver(2, b"runs")
        timeout(peer)
        await consumed_again(broker)
        assert prefetches(peer) == [3, 1], "two slots are taken by what runs on"
        assert peer.of(Close) == [], "what runs is settled on its own channel"
        peer.say(*delivery(1, b"next"), channel=2)
        assert [each.message.body for each in got] == [b"hangs", b"runs", b"next"]
        assert [await each.settle() for each in got] == [Settlement.DONE] * 3
        await until(lambda: prefetches(peer)[-1] == 3)
        assert sorted((number, tag) for number, tag, _ in acks(peer)) == [(1, 1), (1, 2), (2, 1)] or acks(peer) == [
            (1, 2, True),
            (2, 1, True),
        ]
        await peer.until_got(Close)


async def test_nothing_is_settled_twice_nor_given_back_by_a_nack() -> None:
    async with consuming(1) as (broker, peer, _, got):
        peer.deliver(1, b"hangs")
        timeout(peer)
        await until(lambda: broker.redeclared == ["work"])
        settling = asyncio.create_task(got[0].settle([to("result")]))
        await turn()
        broker.confirms[0].set_result(None)
        assert await settling is Settlement.DONE, "the broker takes no notice of a late ack"
        assert await got[0].settle([to("result")]) is Settlement.LOST
        await consumed_again(broker)
        await until(lambda: len(prefetches(peer)) == 2)
        assert [(number, tag) for number, tag, _ in acks(peer)] == [(1, 1)]
        assert len(broker.published) == 1
        assert peer.of(commands.Basic.Nack, commands.Basic.Reject, commands.Basic.Recover) == []


async def test_jobs_of_a_consumer_that_timed_out_keep_their_slots_until_they_end() -> None:
    async with consuming(2) as (broker, peer, _, got):
        peer.deliver(1, b"hangs")
        peer.deliver(2, b"hangs too")
        timeout(peer)
        await consumed_again(broker)
        assert prefetches(peer) == [2], "nothing is consumed: both slots are taken"
        assert await got[0].settle() is Settlement.DONE
        await until(lambda: prefetches(peer) == [2, 1])
        assert await got[1].settle() is Settlement.DONE
        await until(lambda: prefetches(peer)[-1] == 2)


async def test_the_other_consumers_of_the_connection_go_on() -> None:
    async with consuming(1) as (broker, peer, _, _):
        others: list[Delivery] = []
        other = AmqpConsumer(cast("Surroundings", broker), "other", prefetch=1, deliver=others.append)
        await other.open()
        peer.deliver(1, b"hangs")
        timeout(peer)
        await until(lambda: broker.redeclared == ["work"])
        peer.say(*delivery(1, b"of another queue"), channel=2)
        assert await others[0].settle() is Settlement.DONE
        interrupted = [event.queue for event in broker.events if isinstance(event, ConsumerInterrupted)]
        assert interrupted == ["work"]
        await other.close()


async def test_a_second_delivery_that_times_out_closes_the_former_channel_and_no_other() -> None:
    async with consuming(3) as (broker, peer, _, got):
        peer.deliver(1, b"hangs")
        peer.deliver(2, b"hangs longer")
        timeout(peer)
        await consumed_again(broker)
        peer.say(Close(406, TIMED_OUT, 0, 0), channel=1)
        assert [await got[0].settle([to("a")]), await got[1].settle()] == [Settlement.LOST] * 2
        assert broker.published == [], "somebody else has the jobs"
        await until(lambda: prefetches(peer)[-1] == 3)
        assert broker.kinds().count(ConsumerInterrupted) == 1, "what is consumed now is not touched"


async def test_it_happens_again_and_again() -> None:
    async with consuming(1) as (broker, peer, _, got):
        for channel in range(1, 6):
            peer.say(*delivery(1, b"hangs"), channel=channel)
            timeout(peer, channel)
            await until(lambda channel=channel: len(broker.redeclared) == channel)
            assert await got[-1].settle() is Settlement.DONE
            await until(lambda channel=channel: len(peer.of(Consume)) == channel + 1)
        await until(lambda: len(peer.of(Close)) == 5)
        assert [(number, tag) for number, tag, _ in acks(peer)] == [(number, 1) for number in range(1, 6)]


@pytest.mark.parametrize("wanted", [True, False])
async def test_the_end_of_a_consumer_is_answered_where_the_broker_says_that_it_takes_an_answer(wanted: bool) -> None:
    async with consuming(1) as (broker, peer, _, _):
        peer.plane.answers_cancel = wanted
        timeout(peer)
        await consumed_again(broker)
        assert bool(peer.of(CancelOk)) is wanted


# Counting.


@pytest.mark.parametrize(
    ("headers", "redeliveries"),
    [({"x_delivery_count": 0, "x_acquired_count": 1}, 0), ({"x_delivery_count": 2, "x_acquired_count": 3}, 2)],
)
async def test_what_the_broker_counts_is_taken_from_it(headers: dict[str, Any], redeliveries: int) -> None:
    async with consuming(1) as (broker, peer, _, got):
        peer.deliver(1, b"again", redelivered=True, **headers)
        assert (got[0].redeliveries, got[0].message.headers) == (redeliveries, {})
        assert broker.published == []


async def test_a_return_that_the_broker_does_not_count_is_counted_by_the_worker() -> None:
    async with consuming(1) as (broker, peer, _, got):
        peer.deliver(1, b"again", redelivered=True, x_acquired_count=1)
        assert got == [], "a job that takes its worker along would never end"
        (copy,) = broker.published
        assert copy.message.headers == {JOB_ID: derived_job_id("m1"), REDELIVERIES: 1}
        broker.confirms[0].set_result(None)
        await peer.until_got(Ack)


# Declaring.


def as_of_43(asked: Frame) -> tuple[int, str] | None:
    """Refuse what RabbitMQ 4.3 refuses; no queue exists but that of others."""
    match asked:
        case commands.Queue.Declare(passive=True, queue="theirs"):
            return None
        case commands.Queue.Declare(passive=True):
            return 404, f"NOT_FOUND - no queue '{asked.queue}' in vhost '/'"
        case commands.Queue.Declare(durable=False, exclusive=False):
            return 541, "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated."
        case commands.Queue.Declare() if _timeout_of_classic(asked.arguments or {}):
            return 406, "PRECONDITION_FAILED - invalid arg 'x-consumer-timeout'"
        case commands.Exchange.Declare(passive=True):
            return 404, f"NOT_FOUND - no exchange '{asked.exchange}' in vhost '/'"
        case commands.Basic.Qos(global_=True):
            return 541, "INTERNAL_ERROR - Feature `global_qos` is deprecated."
        case _:
            return None


def _timeout_of_classic(arguments: dict[str, Any]) -> bool:
    return "x-consumer-timeout" in arguments and arguments.get("x-queue-type", "classic") == "classic"


OURS = [
    Queue("quorum"),
    Queue("classic", type="classic"),
    Queue("prior", type="classic", max_priority=5),
    Queue("theirs", declare=False),
    Queue("plain", type="classic", arguments={}),
]


def declared(peer: Peer) -> list[commands.Queue.Declare]:
    """Return the declarations that make something."""
    return [asked for asked in peer.of(Declare) if not asked.passive]


async def test_nothing_that_taskq_declares_is_transient_and_open_to_all_or_limits_the_ack_of_a_classic_queue() -> None:
    peer, broker = Peer(), Broker()
    peer.refuse = as_of_43
    broker.line.connect(peer)
    declarer = Declarer(peer.hot_channel)
    await declarer.declare(OURS)
    temporary = temporary_queue(
        TemporaryQueue(name="temporary", label="t", bindings=(), limit=10, overflow="drop-head")
    )
    await declarer.apply(LADDER + Topology(queues=(temporary,), bindings=(way_out("quorum"),)))
    inbox = AmqpInbox(cast("Surroundings", broker), lambda reply: None)
    await inbox.open()
    consumer = AmqpConsumer(cast("Surroundings", broker), "quorum", prefetch=1, deliver=lambda arrived: None)
    await consumer.open()
    made = {asked.queue: asked for asked in declared(peer)}
    assert {queue.name for queue in OURS if queue.declare} | {queue.dead for queue in OURS} <= made.keys()
    assert {"temporary", "taskq.unroutable", inbox.address} <= made.keys()
    assert [name for name, asked in made.items() if not (asked.durable or asked.exclusive)] == []
    assert [name for name, asked in made.items() if not asked.durable] == ["temporary"]
    assert [name for name, asked in made.items() if "x-consumer-timeout" in (asked.arguments or {})] == []
    assert [qos.global_ for qos in peer.of(Qos)] == [False] * 2
    await inbox.close()
    await consumer.close()


async def test_a_program_that_wants_a_queue_of_that_kind_gets_the_words_of_the_broker() -> None:
    peer = Peer()
    peer.refuse = as_of_43
    with pytest.raises(BrokerError, match="transient_nonexcl_queues"):
        await Declarer(peer.hot_channel).declare([Queue("old", type="classic", arguments={}, durable=False)])


async def test_a_limit_of_their_own_on_a_classic_queue_is_refused_with_the_words_of_the_broker() -> None:
    peer = Peer()
    peer.refuse = as_of_43
    queue = Queue("old", type="classic", arguments={"x-consumer-timeout": 60_000})
    with pytest.raises(BrokerError, match="x-consumer-timeout"):
        await Declarer(peer.hot_channel).declare([queue])
