"""A channel of ours: answers in order, acks by the rule, and an end that the broker can live with."""

import asyncio

import pytest
from pamqp import commands, frame

from taskq.broker.amqp.plane.commands import consume
from taskq.broker.amqp.plane.events import Cancelled, Delivered, Event
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.hotchannel import HotChannel
from tests.support.amqppeer import Peer, delivery

Ack, Close, CloseOk = commands.Basic.Ack, commands.Channel.Close, commands.Channel.CloseOk


async def opened(peer: Peer) -> tuple[HotChannel, list[Event], list[ChannelGone]]:
    events: list[Event] = []
    ends: list[ChannelGone] = []
    return await peer.hot_channel(events.append, ends.append), events, ends


async def turn() -> None:
    """Let the loop go round, so that what waits for the end of the turn is sent."""
    for _ in range(3):
        await asyncio.sleep(0)


def acks(peer: Peer) -> list[tuple[int, bool]]:
    return [(ack.delivery_tag, ack.multiple) for ack in peer.of(Ack)]


async def test_answers_go_to_the_commands_in_their_order() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    first, second = channel.ask(commands.Basic.Qos(prefetch_count=1)), channel.ask(consume("work", "tag"))
    assert isinstance(await second, commands.Basic.ConsumeOk)
    assert isinstance(first.result(), commands.Basic.QosOk)


async def test_a_wait_that_was_given_up_does_not_shift_the_answers() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    given_up = channel.ask(commands.Basic.Qos(prefetch_count=1))
    given_up.cancel()
    assert isinstance(await channel.call(consume("work", "tag")), commands.Basic.ConsumeOk)


async def test_acks_of_a_turn_are_one_multiple_and_the_rest_alone() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    for tag in (3, 1, 2, 5):
        channel.ack(tag)
    await turn()
    assert acks(peer) == [(3, True), (5, False)]
    channel.ack(4)
    await turn()
    assert acks(peer)[2:] == [(4, True)]
    channel.ack(6)
    await turn()
    assert acks(peer)[3:] == [(6, True)]


async def test_what_a_turn_sends_leaves_in_one_write() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    before = len(peer.transport.writes)
    channel.ack(1)
    channel.publish("", "work", b"\x00<\x00\x00" + bytes(8) + b"\x00\x00", b"")
    channel.publish("", "work", b"\x00<\x00\x00" + bytes(8) + b"\x00\x00", b"")
    await turn()
    assert len(peer.transport.writes) == before + 1
    assert len(peer.of(commands.Basic.Publish)) == 2


async def test_pending_acks_leave_before_a_close_and_none_after_it() -> None:
    peer = Peer()
    channel, _, ends = await opened(peer)
    channel.ack(1)
    closing = asyncio.create_task(channel.close())
    await asyncio.sleep(0)
    channel.ack(2)
    await closing
    assert [type(got) for _, got in peer.frames][-2:] == [Ack, Close]
    await turn()
    assert acks(peer) == [(1, True)]
    assert [end.code for end in ends] == [0]
    await channel.close()
    assert len(peer.of(Close)) == 1


async def test_the_brokers_close_is_answered_and_ends_every_wait() -> None:
    peer = Peer()
    peer.silent.add(commands.Basic.Consume)
    channel, _, ends = await opened(peer)
    waiting = channel.ask(consume("work", "tag"))
    peer.say(Close(404, "NOT_FOUND - no queue", 0, 0))
    with pytest.raises(ChannelGone, match="404 NOT_FOUND"):
        await waiting
    await turn()
    assert len(peer.of(CloseOk)) == 1
    assert [end.code for end in ends] == [404]
    with pytest.raises(ChannelGone):
        await channel.call(consume("work", "tag"))
    assert (await opened(peer))[0].number != channel.number, "the number that was freed last is taken last"


async def test_when_both_close_at_once_the_number_stays_taken_until_ours_is_answered() -> None:
    peer = Peer()
    peer.numbers = type(peer.numbers)(1)
    peer.silent.add(Close)
    channel, _, _ = await opened(peer)
    closing = asyncio.create_task(channel.close())
    await turn()
    peer.say(Close(406, "PRECONDITION_FAILED - unknown delivery tag 1", 0, 0))
    await closing
    await turn()
    assert len(peer.of(CloseOk)) == 1
    with pytest.raises(ChannelGone, match="all 1 channels"):
        peer.numbers.take()
    peer.say(CloseOk())
    assert peer.numbers.take() == 1


@pytest.mark.parametrize("asked_for", [False, True])
async def test_a_cancel_of_the_broker_is_answered_where_that_is_asked_for(asked_for: bool) -> None:
    peer = Peer()
    peer.plane.answers_cancel = asked_for
    _, events, _ = await opened(peer)
    peer.say(commands.Basic.Cancel(consumer_tag="tag", nowait=True))
    await turn()
    assert events == [Cancelled("tag")]
    assert len(peer.of(commands.Basic.CancelOk)) == asked_for


async def test_deliveries_arrive_however_their_bytes_are_cut() -> None:
    peer = Peer()
    _, events, _ = await opened(peer)
    whole = b"".join(frame.marshal(each, 1) for each in delivery(1, b"body"))
    for byte in whole:
        peer.plane.data_received(bytes((byte,)))
    (event,) = events
    assert isinstance(event, Delivered)
    assert (event.tag, event.body) == (1, b"body")


async def test_the_library_is_shown_life_once_a_second_while_only_hot_frames_come() -> None:
    peer = Peer()
    await opened(peer)
    shown = len(peer.inner.got)
    for tag in range(1, 50):
        peer.deliver(tag, b"x")
    assert peer.inner.got[shown:] in (b"", b"\x08\x00\x00\x00\x00\x00\x00\xce")
    assert peer.inner.got.count(b"\x08\x00\x00\x00\x00\x00\x00\xce") == 1


async def test_rubbish_ends_the_connection_and_all_its_channels() -> None:
    peer = Peer()
    _, _, ends = await opened(peer)
    peer.plane.data_received(b"\x01\x00\x01\x00\x00\x00\x04" + b"\x00\x3c\x00\x3c" + b"\x00")
    assert peer.transport.aborted
    assert "breaks the protocol" in peer.plane.lost.result()
    assert len(ends) == 1


async def test_the_end_of_the_connection_is_known_from_the_brokers_own_words() -> None:
    peer = Peer()
    _, _, ends = await opened(peer)
    peer.say(commands.Connection.Close(320, "CONNECTION_FORCED - maintenance", 0, 0), channel=0)
    await turn()
    assert "maintenance" in peer.plane.lost.result()
    assert "maintenance" in ends[0].text
    assert b"maintenance" in peer.inner.got, "the library has to hear it, too"
