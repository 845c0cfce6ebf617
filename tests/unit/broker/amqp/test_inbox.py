"""The reply queue: one channel from its making to its end, whenever that comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pamqp import commands

from taskq.broker.amqp import replyqueue
from taskq.broker.amqp.inbox import AmqpInbox
from taskq.broker.amqp.link import Link
from taskq.errors import AccessRefused, BrokerUnreachable
from taskq.lifecycle import ConsumerInterrupted, ConsumerResumed
from taskq.wire.message import Message
from tests.support.amqppeer import Peer, delivery
from tests.support.waiting import until
from tests.unit.broker.amqp.test_consumer import Broker

Ack, Consume, Declare, Delete = (
    commands.Basic.Ack,
    commands.Basic.Consume,
    commands.Queue.Declare,
    commands.Queue.Delete,
)

HOMELESS = (404, "NOT_FOUND - home node 'a@b' of durable queue 'r' in vhost '/' is down or inaccessible")


@asynccontextmanager
async def reading() -> AsyncIterator[tuple[Broker, Peer, AmqpInbox, list[Message]]]:
    broker, peer, got = Broker(), Peer(), list[Message]()
    broker.line.connect(peer)
    inbox = AmqpInbox(broker, got.append)
    await inbox.open()
    yield broker, peer, inbox, got
    await inbox.close()


async def test_it_is_made_read_and_deleted_on_one_channel() -> None:
    async with reading() as (broker, peer, inbox, got):
        peer.deliver(1, b"reply")
        assert [message.body for message in got] == [b"reply"]
    assert {number for number, _ in peer.frames} == {1}
    assert [sent.queue for sent in peer.of(Declare, Delete)] == [inbox.address] * 2
    assert (broker.events, len(peer.numbers)) == ([], 0)
    await inbox.close()
    assert len(peer.of(Delete)) == 1


async def test_what_arrives_on_a_channel_is_acknowledged_on_that_channel() -> None:
    async with reading() as (broker, peer, _, got):
        peer.say(commands.Basic.Cancel(consumer_tag="replies", nowait=True))  # and so it reads on another one
        await until(lambda: broker.kinds() == [ConsumerInterrupted, ConsumerResumed])
        assert [number for number, each in peer.frames if isinstance(each, Consume)] == [1, 2]
        peer.say(*delivery(7, b"reply"), channel=2)
        await peer.until_got(Ack)
        assert [(number, each.delivery_tag) for number, each in peer.frames if isinstance(each, Ack)] == [(2, 7)]
        assert len(got) == 1


async def test_it_comes_back_on_the_next_connection_under_its_name() -> None:
    async with reading() as (broker, _, inbox, got):
        broker.line.lose()
        following = Peer()
        broker.line.connect(following)
        await until(lambda: broker.kinds() == [ConsumerInterrupted, ConsumerResumed])
        assert [sent.queue for sent in following.of(Declare)] == [inbox.address]
        following.deliver(1, b"reply")
        assert len(got) == 1


async def test_while_the_node_of_its_queue_is_down_there_is_another_queue_and_then_both_are_read() -> None:
    async with reading() as (broker, _, inbox, got):
        first, following = inbox.address, Peer()
        down = [first]
        following.refuse = lambda asked: HOMELESS if isinstance(asked, Declare) and asked.queue in down else None
        broker.line.lose()
        broker.line.connect(following)
        await until(lambda: inbox.address != first)
        second = inbox.address
        await until(lambda: [sent.queue for sent in following.of(Consume)] == [second])
        down.clear()
        await until(lambda: [sent.queue for sent in following.of(Consume)] == [second, first])
        assert inbox.address == second
        channels = [number for number, each in following.frames if isinstance(each, Consume)]
        for number in channels:
            following.say(*delivery(1, b"reply"), channel=number)
        await until(lambda: len(got) == 2)
        assert broker.kinds() == [ConsumerInterrupted, ConsumerResumed, ConsumerResumed]
    assert {sent.queue for sent in following.of(Delete)} == {first, second}


async def test_a_queue_that_the_broker_is_silent_about_is_taken_for_one_whose_node_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replyqueue, "_SILENCE_S", 0.01)
    async with reading() as (broker, _, inbox, got):
        first, following = inbox.address, Peer()
        following.mute = lambda asked: isinstance(asked, Declare) and asked.queue == first
        broker.line.lose()
        broker.line.connect(following)
        await until(lambda: inbox.address != first)
        await until(lambda: [sent.queue for sent in following.of(Consume)] == [inbox.address])
        (asked,) = [number for number, each in following.frames if isinstance(each, Declare) and each.queue == first]
        following.say(commands.Queue.DeclareOk(first, 0, 0), channel=asked)  # the node is back
        await until(lambda: [sent.queue for sent in following.of(Consume)] == [inbox.address, first])
        following.say(*delivery(1, b"reply"), channel=asked)
        assert len(got) == 1
        assert broker.kinds() == [ConsumerInterrupted, ConsumerResumed, ConsumerResumed]


async def test_a_connection_that_cannot_be_had_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reading() as (broker, _, inbox, _):
        tries, link = [0], broker.line.link

        async def refusing() -> Link:
            tries[0] += 1
            if tries[0] == 1:
                raise BrokerUnreachable("not now")
            return await link()

        monkeypatch.setattr(broker.line, "link", refusing)
        following = Peer()
        broker.line.lose()
        broker.line.connect(following)
        await until(lambda: broker.kinds() == [ConsumerInterrupted, ConsumerResumed])
        assert [sent.queue for sent in following.of(Consume)] == [inbox.address]
        assert tries == [2]


async def test_when_there_is_no_other_queue_either_it_is_tried_again() -> None:
    async with reading() as (broker, _, inbox, _):
        first, following = inbox.address, Peer()
        down = {first}

        def refused(asked: object) -> tuple[int, str] | None:
            if not isinstance(asked, Declare) or asked.queue not in down:
                if len(down) > 2 or not isinstance(asked, Declare):
                    return None
                down.add(asked.queue)
            return HOMELESS

        following.refuse = refused
        broker.line.lose()
        broker.line.connect(following)
        await until(lambda: inbox.address not in down)
        assert len(down) == 3
        assert [sent.queue for sent in following.of(Consume)] == [inbox.address]


@pytest.mark.parametrize("turns", range(24))
async def test_a_close_at_any_moment_of_a_move_takes_down_every_queue_and_begins_none(turns: int) -> None:
    broker, peer = Broker(), Peer()
    broker.line.connect(peer)
    inbox = AmqpInbox(broker, lambda message: None)
    await inbox.open()
    first, following = inbox.address, Peer()
    following.refuse = lambda asked: HOMELESS if isinstance(asked, Declare) and asked.queue == first else None
    broker.line.lose()
    broker.line.connect(following)
    for _ in range(turns):
        await asyncio.sleep(0)
    await inbox.close()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    await until(lambda: len(following.numbers) == 0)
    made = {sent.queue for sent in following.of(Declare)} - {first}
    assert {sent.queue for sent in following.of(Delete)} >= made


@pytest.mark.parametrize("turns", range(12))
async def test_a_close_after_an_opening_that_was_cancelled_anywhere_takes_it_down(turns: int) -> None:
    broker, peer = Broker(), Peer()
    broker.line.connect(peer)
    inbox = AmqpInbox(broker, lambda message: None)
    opening = asyncio.create_task(inbox.open())
    for _ in range(turns):
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    await inbox.close()
    await until(lambda: len(peer.numbers) == 0)
    assert len(peer.of(Delete)) == len(peer.of(Declare))
    assert (peer.alive, broker.events) == (True, [])


async def test_an_opening_that_goes_on_after_the_close_ends_and_reads_nothing() -> None:
    broker, peer = Broker(), Peer()
    broker.line.connect(peer)
    inbox = AmqpInbox(broker, lambda message: None)
    opening = asyncio.create_task(inbox.open())
    closing = asyncio.create_task(inbox.close())
    with pytest.raises(BrokerUnreachable):
        await opening
    await closing
    await until(lambda: len(peer.numbers) == 0)


async def test_a_missing_permission_ends_the_opening_and_is_named() -> None:
    broker, peer = Broker(), Peer()
    broker.line.connect(peer)
    text = "ACCESS_REFUSED - access to queue 'r' in vhost '/' refused for user 'bob'"
    peer.refuse = lambda asked: (403, text) if isinstance(asked, Declare) else None
    with pytest.raises(AccessRefused, match="'configure' permission"):
        await AmqpInbox(broker, lambda message: None).open()
