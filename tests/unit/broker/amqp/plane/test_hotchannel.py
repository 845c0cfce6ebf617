"""A channel of ours: answers in order, acks by the rule, and an end that the broker can live with."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pamqp import commands, frame

from taskq.broker.amqp.plane import pendingacks, transport
from taskq.broker.amqp.plane.commands import consume
from taskq.broker.amqp.plane.events import Cancelled, Delivered, Event
from taskq.broker.amqp.plane.faults import ChannelGone, NoChannelFree
from taskq.broker.amqp.plane.hotchannel import HotChannel
from tests.support.amqppeer import Peer, delivery
from tests.support.waiting import until

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


async def test_acks_that_nobody_waits_for_leave_together_after_a_moment() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    for tag in (1, 2, 3):
        channel.ack_later(tag, most=10)
        await turn()
    assert acks(peer) == [], "not with their turns"
    await peer.until_got(Ack)
    assert acks(peer) == [(3, True)]
    channel.ack_later(4, most=10)
    await peer.until_got(Ack, 2)
    assert acks(peer)[1:] == [(4, True)]


@pytest.fixture
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Acks that may wait do so for ever."""
    monkeypatch.setattr(pendingacks, "ACK_WITHIN_S", 3600.0)


@pytest.mark.usefixtures("no_hurry")
@pytest.mark.parametrize(
    ("most", "left"), [(2, []), (1, [(2, True)]), (0, [(1, True), (2, True)]), (-1, [(1, True), (2, True)])]
)
async def test_acks_leave_with_their_turn_when_more_than_so_many_wait(most: int, left: list[tuple[int, bool]]) -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    for tag in (1, 2):
        channel.ack_later(tag, most)
        await turn()
    assert acks(peer) == left


@pytest.mark.usefixtures("no_hurry")
async def test_an_ack_takes_along_those_that_wait() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    channel.ack_later(1, most=10)
    channel.ack(2)
    await turn()
    assert acks(peer) == [(2, True)]


@pytest.mark.usefixtures("no_hurry")
async def test_acks_that_wait_leave_before_a_close_and_never_after_the_end() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    channel.ack_later(1, most=10)
    await channel.close()
    assert [type(got) for _, got in peer.frames][-2:] == [Ack, Close]
    channel.ack_later(2, most=10)
    lost, _, _ = await opened(peer)
    lost.ack_later(1, most=10)
    lost.lose("the connection is gone")
    await turn()
    assert acks(peer) == [(1, True)]


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


async def both_closed(peer: Peer) -> HotChannel:
    """Return a channel that both sides closed in the same moment; ours is not answered."""
    peer.silent.add(Close)
    peer.refuse = lambda asked: (404, "NOT_FOUND - no queue") if isinstance(asked, commands.Basic.Consume) else None
    channel, _, _ = await opened(peer)
    asked = channel.ask(consume("missing", "tag"))
    assert channel.leave() is not None
    with pytest.raises(ChannelGone, match="404 NOT_FOUND"):
        await asked
    await turn()
    assert [type(got) for _, got in peer.frames][-2:] == [Close, CloseOk]
    assert len(peer.numbers) == 1
    return channel


async def test_when_both_close_at_once_and_ours_is_never_answered_the_number_is_free_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taskq.broker.amqp.plane.hotchannel._UNANSWERED_S", 0.05)
    peer = Peer()
    await both_closed(peer)
    await until(lambda: not len(peer.numbers))
    assert peer.alive


async def test_a_late_answer_to_our_close_frees_the_number_and_ends_the_waiting() -> None:
    peer = Peer()
    channel = await both_closed(peer)
    timer = channel._unanswered
    assert timer is not None
    peer.say(CloseOk())
    assert len(peer.numbers) == 0
    assert timer.cancelled()


async def test_no_timer_of_a_close_that_is_not_answered_outlives_the_connection() -> None:
    peer = Peer()
    channel = await both_closed(peer)
    timer = channel._unanswered
    assert timer is not None
    peer.break_off()
    assert timer.cancelled()


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


@contextmanager
def faults() -> Iterator[list[str]]:
    """Collect what the event loop is told of faults, with their errors."""
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(f"{context['message']}: {context['exception']}"))
    yield told
    loop.set_exception_handler(None)


async def test_a_delivery_that_cannot_be_taken_is_told_and_the_others_go_on() -> None:
    peer, taken = Peer(), list[Event]()

    def receive(event: Event) -> None:
        if isinstance(event, Delivered) and event.tag == 2:
            raise ZeroDivisionError("no")
        taken.append(event)

    channel = await peer.hot_channel(receive)
    with faults() as told:
        peer.say(*delivery(1, b"1"), *delivery(2, b"2"), *delivery(3, b"3"))
    assert [event.tag for event in taken if isinstance(event, Delivered)] == [1, 3]
    assert told == ["taskq failed to take a delivery, which stays unsettled: no"]
    assert channel.gone is None
    assert peer.alive


@pytest.mark.parametrize("said", [Ack(1), commands.Basic.Cancel("tag", nowait=True)], ids=["confirm", "cancel"])
async def test_another_fault_closes_the_channel_once_and_leaves_the_connection_and_its_other_channels(
    said: commands.Basic.Ack | commands.Basic.Cancel,
) -> None:
    peer, ends = Peer(), list[ChannelGone]()

    def receive(event: Event) -> None:
        raise ZeroDivisionError("no")

    channel = await peer.hot_channel(receive, ends.append)
    other, events, _ = await opened(peer)
    with faults() as told:
        peer.say(said, said, *delivery(1, b"1"))
        await turn()
    assert len(told) == 1
    assert "ZeroDivisionError" in ends[0].text
    assert len(ends) == len(peer.of(Close)) == 1
    assert channel.over
    peer.deliver(1, b"1")
    peer.say(*delivery(1, b"1"), channel=other.number)
    assert [type(event) for event in events] == [Delivered]
    assert peer.alive
    assert channel.number not in peer.plane._channels, "our close was answered"


async def test_after_a_fault_the_next_channel_comes_later_and_not_in_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_REST_S", 0.1)
    peer = Peer()
    channel, _, _ = await opened(peer)
    loop = asyncio.get_running_loop()
    with faults():
        channel.fail("to do its work", ValueError("no"))
        began = loop.time()
        await opened(peer)
    assert loop.time() - began >= 0.1


async def test_who_waits_for_the_next_channel_hears_of_the_end_of_the_connection() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    with faults():
        channel.fail("to do its work", ValueError("no"))
        opening = asyncio.create_task(opened(peer))
        await turn()
        peer.break_off("cut")
        with pytest.raises(ChannelGone, match="cut"):
            await opening


async def test_a_fault_at_the_end_of_one_channel_does_not_keep_it_from_the_others() -> None:
    peer = Peer()

    def broken(gone: ChannelGone) -> None:
        raise ZeroDivisionError("no")

    await peer.hot_channel(lambda event: None, broken)
    _, _, ends = await opened(peer)
    with faults() as told:
        peer.break_off("cut")
    assert [end.text for end in ends] == ["cut"]
    assert told == ["taskq failed to take in the end of a channel: no"]


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


# Waits that are cancelled.


async def cancelled(wait: asyncio.Task[object]) -> None:
    wait.cancel()
    await asyncio.wait([wait])
    assert wait.cancelled()


async def test_an_open_that_is_cancelled_is_followed_by_a_close_and_frees_its_number_with_the_answer() -> None:
    peer = Peer()
    peer.silent.add(Close)
    opening: asyncio.Task[object] = asyncio.create_task(peer.hot_channel())
    await turn()
    await cancelled(opening)
    await turn()
    assert [type(got) for _, got in peer.frames] == [commands.Channel.Open, Close]
    assert len(peer.numbers) == 1, "the broker may still speak on it"
    peer.say(CloseOk())
    assert len(peer.numbers) == 0
    assert peer.alive


async def test_a_close_that_is_cancelled_goes_on_and_frees_its_number() -> None:
    peer = Peer()
    peer.silent.add(Close)
    channel, _, ends = await opened(peer)
    closing: asyncio.Task[object] = asyncio.create_task(channel.close())
    await turn()
    await cancelled(closing)
    assert (len(peer.numbers), channel.over, ends) == (1, True, [])
    peer.say(CloseOk())
    assert (len(peer.numbers), len(ends)) == (0, 1)


async def test_a_wait_that_is_cancelled_anywhere_leaves_neither_a_number_nor_a_broken_connection() -> None:
    peer = Peer()

    async def use() -> None:
        channel = await peer.hot_channel()
        try:
            await channel.call(consume("work", "tag"))
            await channel.close()
        finally:
            channel.leave()

    for turns in range(20):
        task: asyncio.Task[object] = asyncio.create_task(use())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        for _ in range(8):
            await asyncio.sleep(0)
        assert (turns, len(peer.numbers), peer.alive) == (turns, 0, True)


async def test_who_leaves_waits_for_nothing_and_may_do_it_twice() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    channel.ack(1)
    assert channel.leave() is not None
    assert channel.leave() is None
    channel.tell([commands.Queue.Bind(queue="q", exchange="e", nowait=True)])
    await turn()
    assert [type(got) for _, got in peer.frames][-2:] == [Ack, Close]
    await turn()
    assert (len(peer.numbers), peer.alive) == (0, True)


async def test_a_cancel_that_crosses_a_close_is_not_answered_on_the_closed_channel() -> None:
    peer = Peer()
    peer.plane.answers_cancel = True
    channel, _, _ = await opened(peer)
    channel.leave()
    peer.say(commands.Basic.Cancel(consumer_tag="tag", nowait=True))
    await turn()
    assert peer.of(commands.Basic.CancelOk) == []
    await turn()
    assert peer.alive


async def test_commands_without_an_answer_leave_in_order_with_those_that_have_one() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    channel.tell([commands.Queue.Bind(queue=name, exchange="e", nowait=True) for name in "ab"])
    assert isinstance(await channel.call(commands.Queue.Bind(queue="c", exchange="e")), commands.Queue.BindOk)
    assert [bind.queue for bind in peer.of(commands.Queue.Bind)] == ["a", "b", "c"]


async def test_a_command_that_cannot_be_written_does_not_shift_the_answers() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    with pytest.raises(TypeError, match="255"):
        channel.ask(consume("x" * 300, "tag"))
    assert isinstance(await channel.call(commands.Basic.Qos(prefetch_count=1)), commands.Basic.QosOk)


async def test_when_no_number_is_free_that_is_no_lost_connection() -> None:
    peer = Peer()
    peer.numbers = type(peer.numbers)(1)
    await opened(peer)
    with pytest.raises(NoChannelFree, match="all 1 channels of the connection are in use") as caught:
        await peer.hot_channel()
    assert caught.value.code


async def test_who_listens_may_be_set_after_the_opening() -> None:
    peer, told = Peer(), list[Event]()
    channel = await peer.hot_channel()
    channel.listen(told.append)
    peer.deliver(1, b"x")
    assert len(told) == 1


# A cancel that comes before the consume is answered.


async def test_it_is_held_back_until_then_with_all_that_comes_behind_it() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    peer.silent.add(commands.Basic.Consume)
    consuming = channel.ask(consume("work", "tag"))
    cancelling = channel.ask(commands.Basic.Cancel(consumer_tag="tag"))
    channel.ack(1)
    again = channel.ask(consume("work", "tag2"))
    await turn()
    assert [type(got) for _, got in peer.frames[1:]] == [commands.Basic.Consume]
    peer.silent.clear()
    peer.say(commands.Basic.ConsumeOk("tag"))
    for answer, kind in ((consuming, "ConsumeOk"), (cancelling, "CancelOk"), (again, "ConsumeOk")):
        assert type(await answer).__name__ == kind
    kinds = [type(got).__name__ for _, got in peer.frames[1:]]
    assert kinds == ["Consume", "Cancel", "Ack", "Consume"]


async def test_a_close_behind_it_waits_too_and_the_acks_leave_before() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    peer.silent.add(commands.Basic.Consume)
    channel.ask(consume("work", "tag"))
    channel.ask(commands.Basic.Cancel(consumer_tag="tag"))
    channel.ack(1)
    closing = asyncio.create_task(channel.close())
    await turn()
    peer.say(commands.Basic.ConsumeOk("tag"))
    await closing
    assert [type(got).__name__ for _, got in peer.frames[1:]] == ["Consume", "Cancel", "Ack", "Close"]
    assert len(peer.numbers) == 0


async def test_what_is_held_back_ends_with_the_channel() -> None:
    peer = Peer()
    channel, _, _ = await opened(peer)
    peer.silent.add(commands.Basic.Consume)
    channel.ask(consume("work", "tag"))
    cancelling = channel.ask(commands.Basic.Cancel(consumer_tag="tag"))
    channel.leave()
    peer.say(Close(404, "NOT_FOUND - no queue", 0, 0))
    with pytest.raises(ChannelGone, match="404"):
        await cancelling
    await turn()
    assert [type(got).__name__ for _, got in peer.frames[1:]] == ["Consume", "CloseOk"]
    assert (len(peer.numbers), peer.alive) == (0, True)
