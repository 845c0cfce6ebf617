"""Publishing: each publish ends once, as its own confirm, return, deadline or connection says."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from pamqp import commands

from taskq.broker.amqp.delays import DelayRoutes
from taskq.broker.amqp.ladder import entry
from taskq.broker.amqp.lifeline import Lifeline
from taskq.broker.amqp.link import Link
from taskq.broker.amqp.publisher import Publisher
from taskq.broker.protocol import Outgoing
from taskq.clock import Clock, SystemClock
from taskq.errors import (
    AccessRefused,
    BrokerBlocked,
    BrokerError,
    BrokerUnreachable,
    MessageTooLarge,
    PublishUnconfirmed,
    Unroutable,
)
from tests.conformance.stand import to
from tests.support.amqppeer import Peer
from tests.support.waiting import until

Confirm, Refuse = commands.Basic.Ack, commands.Basic.Nack
SHORT_S = 0.05
REFUSAL = 403, "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'ada'"


class Line:
    """Stands for a lifeline: its peer is replaced by ``connect``, and gone after ``lose``."""

    def __init__(self) -> None:
        self.peer: Peer | None = None
        self._there = asyncio.Event()

    def connect(self, peer: Peer) -> None:
        self.peer = peer
        self._there.set()

    def lose(self) -> None:
        self.lose_for("the line is cut")

    def lose_for(self, reason: str) -> None:
        assert self.peer is not None
        peer, self.peer = self.peer, None
        self._there.clear()
        peer.break_off(reason)

    @property
    def current(self) -> Link | None:
        return None if self.peer is None else self.peer.link

    @property
    def blocked(self) -> str | None:
        return None if self.peer is None else self.peer.plane.blocked

    def trouble(self) -> BrokerError:
        return BrokerUnreachable("the broker cannot be reached: nothing listens there")

    async def link(self) -> Link:
        await self._there.wait()
        assert self.peer is not None
        return self.peer.link


class Routes:
    """Stands for the ladder: a way exists when ``prepare`` was let go on."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.go_on = asyncio.Event()
        self.error: BrokerError | None = None
        self.forgotten = 0

    def ready(self, queue: str) -> bool:
        return queue in self.known

    async def prepare(self, queue: str) -> None:
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        self.known.add(queue)

    def forget(self) -> None:
        self.known.clear()
        self.forgotten += 1


class Exchanges:
    """Stands for the exchanges of the program: one is restored when ``restore`` was let go on."""

    def __init__(self) -> None:
        self.own: set[str] = set()
        self.restored: list[str] = []
        self.go_on = asyncio.Event()
        self.error: BrokerError | None = None

    def makes(self, exchange: str) -> bool:
        return exchange in self.own

    async def restore(self, exchange: str) -> None:
        self.restored.append(exchange)
        await self.go_on.wait()
        if self.error is not None:
            raise self.error


class Kit:
    """A publisher with its line."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.line, self.routes, self.exchanges = Line(), Routes(), Exchanges()
        self.dropped: list[Outgoing] = []
        self.publisher = Publisher(
            cast("Lifeline", self.line),
            cast("DelayRoutes", self.routes),
            self.exchanges,
            clock=clock or SystemClock(),
            label="the broker",
            dropped=self.dropped.append,
        )

    async def connected(self, *, frame_max: int = 131_072) -> Peer:
        peer = Peer()
        peer.plane.tune(frame_max)
        peer.plane.on_change = self.publisher.pump
        self.line.connect(peer)
        await peer.until_got(commands.Confirm.Select)
        await turn()
        return peer

    def send(self, *bodies: bytes, timeout_s: float = 10.0, queue: str = "work") -> list[asyncio.Future[None]]:
        return [self.publisher.publish(to(queue, body), timeout_s) for body in bodies]


@asynccontextmanager
async def publishing() -> AsyncIterator[Kit]:
    kit = Kit()
    kit.publisher.start()
    yield kit
    await kit.publisher.close()


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def outcomes(sends: list[asyncio.Future[None]]) -> list[object]:
    return [None if not send.done() else send.exception() or "confirmed" for send in sends]


async def raised(wait: asyncio.Future[None] | Coroutine[Any, Any, None]) -> BaseException:
    with pytest.raises(BrokerError) as caught:
        await wait
    return caught.value


async def test_confirms_find_their_publishes_alone_and_together() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        sends = kit.send(b"1", b"2", b"3", b"4")
        await peer.until_published(4)
        peer.say(Confirm(2))
        assert outcomes(sends) == [None, "confirmed", None, None]
        peer.say(Confirm(3, multiple=True))
        assert outcomes(sends) == ["confirmed", "confirmed", "confirmed", None]
        peer.say(Confirm(4))
        await sends[3]


async def test_a_publish_leaves_at_once_while_nothing_is_in_flight_and_else_with_its_turn() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        writes, before = peer.transport.writes, len(peer.transport.writes)
        kit.send(b"1", b"2", b"3")
        assert [body for _, body in peer.published] == [b"1"]
        await turn()
        assert [body for _, body in peer.published] == [b"1", b"2", b"3"]
        assert len(writes) == before + 2
        peer.say(Confirm(2, multiple=True))
        kit.send(b"4")
        assert len(peer.published) == 3, "the third is in flight"
        await turn()
        peer.say(Confirm(4, multiple=True))
        kit.send(b"5")
        assert len(peer.published) == 5


async def test_a_return_fails_its_own_publish_at_its_confirm() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        sends = kit.send(b"1", b"2", queue="gone")
        await peer.until_published(2)
        peer.send_back(peer.published[1][0])
        assert outcomes(sends) == [None, None]
        peer.say(Confirm(2, multiple=True))
        assert outcomes(sends)[0] == "confirmed"
        error = await raised(sends[1])
        assert isinstance(error, Unroutable)
        assert error.queue == "gone"


async def test_what_is_not_mandatory_is_dropped_and_told() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        send = kit.publisher.publish(to("taskq.reply.gone", mandatory=False), 10)
        await peer.until_published(1)
        peer.send_back(peer.published[0][0])
        peer.say(Confirm(1))
        await send
        assert [each.queue for each in kit.dropped] == ["taskq.reply.gone"]


async def test_a_nack_fails_its_own_publish() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        sends = kit.send(b"1", b"2")
        await peer.until_published(2)
        peer.say(Refuse(1), Confirm(2))
        assert isinstance(await raised(sends[0]), BrokerBlocked)
        await sends[1]


async def test_after_a_nack_another_channel_is_used_when_what_is_in_flight_is_confirmed() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        sends = kit.send(b"1", b"2")
        await peer.until_published(2)
        peer.say(Refuse(1))
        assert isinstance(await raised(sends[0]), BrokerBlocked)
        sends += kit.send(b"3")
        await asyncio.sleep(0)
        assert len(peer.published) == 2, "not on the channel that refused one"
        peer.say(Confirm(2))
        await sends[1]
        await peer.until_published(3)
        first, second = [number for number, sent in peer.frames if isinstance(sent, commands.Confirm.Select)]
        assert [number for number, sent in peer.frames if isinstance(sent, commands.Channel.Close)] == [first]
        peer.say(Confirm(1), channel=second)
        await sends[2]
        assert [body for _, body in peer.published] == [b"1", b"2", b"3"]


async def test_what_is_not_confirmed_for_long_beside_a_nack_goes_again_over_another_channel() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        sends = kit.send(b"1", b"2")
        await peer.until_published(2)
        peer.say(Refuse(1))
        await peer.until_published(3)
        second = [number for number, sent in peer.frames if isinstance(sent, commands.Confirm.Select)][1]
        peer.say(Refuse(1), channel=second)
        assert isinstance(await raised(sends[1]), PublishUnconfirmed), "the first copy may be stored"


async def test_a_queue_that_refuses_all_does_not_have_a_channel_opened_for_each_message() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        sends = kit.send(*(b"%d" % number for number in range(20)))
        await peer.until_published(20)
        peer.say(*(Refuse(tag) for tag in range(1, 21)))
        assert [type(await raised(send)) for send in sends] == [BrokerBlocked] * 20
        sends = kit.send(b"21")
        await peer.until_published(21)
        opened = [number for number, sent in peer.frames if isinstance(sent, commands.Confirm.Select)]
        assert len(opened) == 2
        peer.say(Refuse(1), channel=opened[1])
        assert isinstance(await raised(sends[0]), BrokerBlocked)
        kit.send(b"22")
        await peer.until_published(22)
        assert len(peer.of(commands.Confirm.Select)) == 2


async def test_what_was_not_confirmed_goes_again_first_under_ids_of_its_own() -> None:
    async with publishing() as kit:
        first = await kit.connected()
        sends = kit.send(b"1", b"2", b"3")
        await first.until_published(3)
        first.say(Confirm(1))
        kit.line.lose()
        sends += kit.send(b"4")
        second = await kit.connected()
        await second.until_published(3)
        assert [body for _, body in second.published] == [b"2", b"3", b"4"]
        assert {each for each, _ in first.published} & {each for each, _ in second.published} == set()
        second.say(Confirm(3, multiple=True))
        await asyncio.gather(*sends)


async def test_without_a_connection_the_deadline_says_why_and_nothing_is_sent_later() -> None:
    async with publishing() as kit:
        (send,) = kit.send(b"1", timeout_s=SHORT_S)
        assert isinstance(await raised(send), BrokerUnreachable)
        peer = await kit.connected()
        (later,) = kit.send(b"2")
        await peer.until_published(1)
        assert [body for _, body in peer.published] == [b"2"]
        peer.say(Confirm(1))
        await later


async def test_an_alarm_holds_publishes_back_and_their_deadlines_name_it() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        sent, waiting = kit.send(b"sent", timeout_s=SHORT_S), [b"waits"]
        await peer.until_published(1)
        peer.say(commands.Connection.Blocked("low on disk"), channel=0)
        held = kit.send(b"held", timeout_s=SHORT_S) + kit.send(*waiting)
        error = await raised(sent[0])
        assert isinstance(error, PublishUnconfirmed)
        assert "low on disk" in error.reason
        error = await raised(held[0])
        assert isinstance(error, BrokerBlocked)
        assert "low on disk" in str(error)
        assert len(peer.published) == 1
        peer.say(commands.Connection.Unblocked(), channel=0)
        await peer.until_published(2)
        assert peer.published[1][1] == b"waits"
        peer.say(Confirm(2, multiple=True))
        await held[1]


async def test_a_full_socket_holds_publishes_back() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        peer.plane.writable = False
        (send,) = kit.send(b"1")
        await turn()
        assert peer.published == []
        peer.plane.writable = True
        kit.publisher.pump()
        await peer.until_published(1)
        peer.say(Confirm(1))
        await send


async def test_the_window_bounds_what_is_in_flight() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        sends = kit.send(*[b"%d" % number for number in range(5000)])
        await turn()
        assert len(peer.published) == 4096
        peer.say(Confirm(4096, multiple=True))
        await peer.until_published(5000)
        peer.say(Confirm(5000, multiple=True))
        await asyncio.gather(*sends)
        large = kit.send(b"x" * (9 << 20), b"y" * (9 << 20))
        await turn()
        assert len(peer.published) > 5000
        assert not any(body.startswith(b"y") for _, body in peer.published), "the second waits for the first"
        for tag in (5001, 5002):
            peer.say(Confirm(tag))
            await turn()
        await asyncio.gather(*large)


async def test_only_the_publish_that_closed_the_channel_fails() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        sends = kit.send(b"1", b"large", b"3")
        await peer.until_published(3)
        text = "PRECONDITION_FAILED - message size 5 is larger than configured max size 4"
        peer.say(commands.Channel.Close(406, text, 0, 0))
        await peer.until_published(4)
        assert [body for _, body in peer.published[3:]] == [b"1"], "one at a time, until it is known"
        peer.say(Confirm(1), channel=2)
        await peer.until_published(5)
        peer.say(commands.Channel.Close(406, text, 0, 0), channel=2)
        assert isinstance(await raised(sends[1]), MessageTooLarge)
        await peer.until_published(6)
        assert peer.published[5][1] == b"3"
        peer.say(Confirm(1), channel=3)
        await asyncio.gather(sends[0], sends[2])
        sends = kit.send(*[b"%d" % number for number in range(100)])
        await peer.until_published(106)
        peer.say(Confirm(101, multiple=True), channel=3)
        await asyncio.gather(*sends)


async def test_a_publish_whose_wait_was_cancelled_is_not_sent_later() -> None:
    async with publishing() as kit:
        given_up, wanted = kit.send(b"1", b"2")
        given_up.cancel()
        peer = await kit.connected()
        await peer.until_published(1)
        assert [body for _, body in peer.published] == [b"2"]
        peer.say(Confirm(1))
        await wanted


async def test_a_delayed_publish_waits_for_its_way_and_others_do_not_wait_for_it() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        delayed = kit.publisher.publish(to("work", b"delayed", not_before=4e9), 10)
        (quick,) = kit.send(b"quick")
        await peer.until_published(1)
        assert peer.published[0][1] == b"quick"
        kit.routes.go_on.set()
        await peer.until_published(2)
        assert peer.of(commands.Basic.Publish)[1].exchange.startswith("taskq.delay.")
        peer.say(Confirm(2, multiple=True))
        await asyncio.gather(quick, delayed)


class JumpingClock(SystemClock):
    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s


async def test_a_delay_is_what_it_was_when_it_was_asked_for_whatever_becomes_of_the_clock() -> None:
    clock = JumpingClock()
    clock.ahead_s = 86_400.0
    kit = Kit(clock)
    kit.publisher.start()
    kit.routes.known.add("work")
    send = kit.publisher.publish(to("work", b"delayed", not_before=clock.now() + 5), 10)
    clock.ahead_s = 0.0  # it is set right before there is a connection
    peer = await kit.connected()
    await peer.until_published(1)
    (asked,) = peer.of(commands.Basic.Publish)
    assert (asked.exchange, asked.routing_key) == entry(5.0, "work")
    peer.say(Confirm(1))
    await send
    await kit.publisher.close()


async def test_a_copy_that_a_permission_is_missing_for_now_may_be_stored_from_the_time_before() -> None:
    async with publishing() as kit:
        await kit.connected()
        (send,) = kit.send(b"1")
        kit.line.lose()
        following = Peer()
        following.refuse = lambda asked: REFUSAL if isinstance(asked, commands.Basic.Publish) else None
        kit.line.connect(following)
        error = await raised(send)
        assert isinstance(error, PublishUnconfirmed)
        assert "permission" in error.reason


@pytest.mark.parametrize("mandatory", [True, False])
async def test_a_message_that_the_broker_fails_inside_for_is_not_sent_for_ever(mandatory: bool) -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        (good,) = kit.send(b"good")
        poison = kit.publisher.publish(to("amq.rabbitmq.reply-to.x", b"poison", mandatory=mandatory), 10)
        for _ in range(3):  # beside a good one, then alone, twice
            await peer.until_published(1)
            await turn()
            bodies = [body for _, body in peer.published]
            if bodies == [b"good"]:
                peer.say(Confirm(1))
                await peer.until_published(2)
            kit.line.lose_for("INTERNAL_ERROR")
            peer = await kit.connected()
        await good
        if mandatory:
            assert "fails inside" in str(await raised(poison))
        else:
            await poison
            assert [dropped.message.body for dropped in kit.dropped] == [b"poison"]
        (later,) = kit.send(b"later")
        await peer.until_published(1)
        peer.say(Confirm(1))
        await later


async def test_a_delayed_publish_without_a_queue_is_unroutable() -> None:
    async with publishing() as kit:
        await kit.connected()
        kit.routes.error = Unroutable("nowhere")
        kit.routes.go_on.set()
        assert isinstance(await raised(kit.publisher.publish(to("nowhere", not_before=4e9), 10)), Unroutable)


async def test_the_ladder_is_made_again_when_somebody_deleted_it() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        kit.routes.known.add("work")
        kit.routes.go_on.set()
        send = kit.publisher.publish(to("work", b"delayed", not_before=4e9), 10)
        await peer.until_published(1)
        before = kit.routes.forgotten
        peer.say(commands.Channel.Close(404, "NOT_FOUND - no exchange 'taskq.delay.50x28.27' in vhost '/'", 0, 0))
        await peer.until_published(2)
        assert kit.routes.forgotten == before + 1
        peer.say(Confirm(1), channel=2)
        await send


def event(exchange: str, body: bytes = b"e", *, mandatory: bool = False) -> Outgoing:
    return to("key", body, mandatory=mandatory)._replace(exchange=exchange)


NO_LOGS = commands.Channel.Close(404, "NOT_FOUND - no exchange 'logs' in vhost '/'", 0, 0)


async def test_what_goes_to_an_exchange_comes_back_only_when_it_is_mandatory() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        sends = [kit.publisher.publish(event("logs", mandatory=mandatory), 10) for mandatory in (False, True)]
        sends += kit.send(b"job")
        await peer.until_published(3)
        sent = [(got.exchange, got.routing_key, got.mandatory) for got in peer.of(commands.Basic.Publish)]
        assert sent == [("logs", "key", False), ("logs", "key", True), ("", "work", True)]
        peer.send_back(peer.published[1][0])
        peer.say(Confirm(3, multiple=True))
        assert outcomes(sends)[::2] == ["confirmed", "confirmed"]
        error = await raised(sends[1])
        assert isinstance(error, Unroutable)
        assert (error.exchange, error.queue) == ("logs", "key")
        assert kit.dropped == []


async def test_a_nack_of_what_went_to_an_exchange_says_that_others_may_have_it() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        send = kit.publisher.publish(event("logs"), 10)
        await peer.until_published(1)
        peer.say(Refuse(1))
        assert "exchange 'logs' with the key 'key'" in str(await raised(send))


async def test_an_exchange_that_is_not_there_fails_its_own_publishes_only() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        sends = [*kit.send(b"1"), kit.publisher.publish(event("logs"), 10), *kit.send(b"2")]
        await peer.until_published(3)
        peer.say(NO_LOGS)
        await peer.until_published(4)
        peer.say(Confirm(1), channel=2)
        await peer.until_published(5)
        peer.say(NO_LOGS, channel=2)
        assert "exchange 'logs' does not exist on the broker" in str(await raised(sends[1]))
        await peer.until_published(6)
        peer.say(Confirm(1), channel=3)
        await asyncio.gather(sends[0], sends[2])
        assert kit.exchanges.restored == []


async def test_an_exchange_of_the_programs_own_is_made_again_and_others_do_not_wait_for_it() -> None:
    async with publishing() as kit:
        kit.exchanges.own.add("logs")
        peer = await kit.connected()
        sends = [kit.publisher.publish(event("logs", b"e1"), 10), *kit.send(b"1")]
        await peer.until_published(2)
        peer.say(NO_LOGS)
        sends.append(kit.publisher.publish(event("logs", b"e2"), 10))
        sends += kit.send(b"2")
        await peer.until_published(4)
        assert [body for _, body in peer.published[2:]] == [b"1", b"2"]
        sends.append(kit.publisher.publish(event("logs", b"e3"), 10))
        assert kit.exchanges.restored == ["logs"]
        kit.exchanges.go_on.set()
        await peer.until_published(7)
        assert [body for _, body in peer.published[4:]] == [b"e1", b"e2", b"e3"]
        assert peer.published[4][0] != peer.published[0][0]
        peer.say(Confirm(5, multiple=True), channel=2)
        await asyncio.gather(*sends)


async def test_an_exchange_that_cannot_be_made_again_fails_what_waits_for_it() -> None:
    async with publishing() as kit:
        kit.exchanges.own.add("logs")
        kit.exchanges.error = AccessRefused("no right to make it")
        peer = await kit.connected()
        sends = [kit.publisher.publish(event("logs", b"%d" % number), 10) for number in range(2)]
        await peer.until_published(2)
        peer.say(NO_LOGS)
        kit.exchanges.go_on.set()
        for send in sends:
            assert isinstance(await raised(send), AccessRefused)
        (job,) = kit.send(b"job")
        await peer.until_published(3)
        peer.say(Confirm(1), channel=2)
        await job


async def test_what_waits_for_an_exchange_keeps_its_deadline() -> None:
    async with publishing() as kit:
        kit.exchanges.own.add("logs")
        peer = await kit.connected()
        send = kit.publisher.publish(event("logs"), SHORT_S)
        await peer.until_published(1)
        peer.say(NO_LOGS)
        error = await raised(send)
        assert isinstance(error, PublishUnconfirmed)
        assert "exchange 'logs'" in str(error)


async def test_a_close_waits_for_confirms_and_fails_what_never_went_out() -> None:
    kit = Kit()
    kit.publisher.start()
    peer = await kit.connected()
    (sent,) = kit.send(b"1")
    await peer.until_published(1)
    closing = asyncio.create_task(kit.publisher.close())
    await turn()
    assert not closing.done()
    peer.say(Confirm(1))
    await closing
    assert outcomes([sent]) == ["confirmed"]
    assert isinstance(await raised(kit.publisher.publish(to("work"), 10)), BrokerUnreachable)
    unconnected = Kit()
    unconnected.publisher.start()
    (never,) = unconnected.send(b"1")
    await unconnected.publisher.close()
    assert isinstance(await raised(never), BrokerUnreachable)


async def test_many_deadlines_are_all_noticed() -> None:
    async with publishing() as kit:
        sends = [*kit.send(b"late", timeout_s=10), *kit.send(*[b"%d" % n for n in range(200)], timeout_s=SHORT_S)]
        await until(lambda: all(send.done() for send in sends[1:]))
        assert not sends[0].done()
        sends[0].cancel()
