"""Exchanges, bindings and temporary queues on a real RabbitMQ: where messages go, and how all of it comes back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from pamqp import commands

from taskq.broker.amqp.broker import AmqpBroker
from taskq.broker.names import new_subscription_queue
from taskq.broker.protocol import Outgoing, Settlement
from taskq.clock import SystemClock
from taskq.errors import BrokerBlocked, BrokerError, ExchangeMismatch, QueueMismatch, Unroutable
from taskq.lifecycle import ReplyDropped, SubscriptionGap
from taskq.tasks.exchanges import Binding, ExchangeDefinition, ExchangeKind, Match, Overflow, TemporaryQueue
from taskq.tasks.options import HeaderValue
from taskq.tasks.queues import Queue
from taskq.wire.headers import EXCHANGE, KEY
from tests.conformance.stand import Catch, message, to
from tests.integration.test_connections import Told, proxy, through
from tests.support.rabbit import SharedRabbit
from tests.support.rabbit.fixtures import administered
from tests.support.tcpproxy import TcpProxy
from tests.support.waiting import eventually, until

__all__ = ["proxy"]

pytestmark = pytest.mark.broker_problems("not_found")  # how RabbitMQ is asked whether something exists


class Opened(AmqpBroker):
    """A broker that keeps what it tells."""

    def __init__(self, url: str) -> None:
        self.told = Told()
        super().__init__(url, clock=SystemClock(), emit=self.told.events.append)

    def gaps(self) -> list[SubscriptionGap]:
        return [event for event in self.told.events if isinstance(event, SubscriptionGap)]

    async def send(self, exchange: str, key: str = "", body: bytes = b"{}", **options: Any) -> None:
        """Publish to an exchange and wait for the confirm; ``mandatory`` and header values by name."""
        mandatory = options.pop("mandatory", False)
        sent = Outgoing(message(body, headers=options), key, mandatory=mandatory, exchange=exchange)
        await self.publish(sent, timeout_s=10)

    async def temporary(
        self, *bindings: Binding, limit: int = 100, overflow: Overflow = "drop-head", prefetch: int = 100
    ) -> tuple[Catch, str]:
        """Subscribe a queue of its own to bindings, whose queue is left out."""
        name, catch = new_subscription_queue(), Catch()
        bound = tuple(replace(binding, queue=name) for binding in bindings)
        queue = TemporaryQueue(name=name, label="test", bindings=bound, limit=limit, overflow=overflow)
        await self.subscribe(queue, prefetch=prefetch, deliver=catch)
        return catch, name


@pytest.fixture
async def broker(amqp_url: str) -> AsyncIterator[Opened]:
    async with Opened(amqp_url) as broker:
        yield broker


def exchange(name: str, kind: ExchangeKind, **options: Any) -> ExchangeDefinition:
    return ExchangeDefinition(name=name, kind=kind, **options)


def bound(name: str, key: str = "", queue: str = "", **headers: HeaderValue) -> Binding:
    return Binding(exchange=name, queue=queue, key=key, headers=headers)


async def counts(broker: AmqpBroker, *queues: str) -> list[int | None]:
    """How many messages wait in each; ``None``: there is no such queue."""
    found = [await broker.declarer.counts(queue) for queue in queues]
    return [None if each is None else each.ready for each in found]


async def remove_exchange(broker: AmqpBroker, name: str) -> None:
    channel = await broker.open_channel()
    await channel.call(commands.Exchange.Delete(exchange=name))
    await channel.close()


async def test_a_fanout_gives_two_queues_a_copy_each_that_says_where_it_was_published(broker: Opened) -> None:
    names = ["one", "two"]
    await broker.declare(
        [Queue(name) for name in names],
        exchanges=[exchange("news", "fanout")],
        bindings=[bound("news", queue=name) for name in names],
    )
    await broker.send("news", "ignored", b"1")
    for name in names:
        catch = Catch()
        await broker.consume(name, prefetch=1, deliver=catch)
        got = await catch.next()
        assert got.message.body == b"1"
        assert got.message.headers == {EXCHANGE: "news", KEY: "ignored"}
        assert await got.settle() is Settlement.DONE


async def test_several_keys_that_match_make_one_copy(broker: Opened) -> None:
    await broker.declare([], exchanges=[exchange("logs", "topic")])
    catch, _ = await broker.temporary(bound("logs", "a.*"), bound("logs", "*.b"), bound("logs", "#"))
    await broker.send("logs", "a.b", b"once")
    await broker.send("logs", "", b"and this")
    assert [(each.message.body, each.message.headers[KEY]) for each in await catch.take(2)] == [
        (b"once", "a.b"),
        (b"and this", ""),
    ]
    assert catch.empty


async def test_a_direct_exchange_passes_on_what_has_the_key_itself(broker: Opened) -> None:
    await broker.declare([], exchanges=[exchange("severity", "direct")])
    errors, _ = await broker.temporary(bound("severity", "error"))
    both, _ = await broker.temporary(bound("severity", "error"), bound("severity", "info"))
    for key in ("error", "info", "error.more", "#"):
        await broker.send("severity", key, key.encode())
    assert [each.message.body for each in await both.take(2)] == [b"error", b"info"]
    assert await errors.settled() == b"error"
    assert errors.empty
    assert both.empty


VALUES: list[HeaderValue] = ["x", "", 5, -5, 300, 70_000, 2**40, -(2**40), 0.1, -2.5, True, False]


@pytest.mark.parametrize("match", ["all", "any"])
async def test_header_values_of_every_type_are_matched(broker: Opened, match: Match) -> None:
    await broker.declare([], exchanges=[exchange("values", "headers")])
    binding = Binding(exchange="values", queue="", headers={"first": VALUES[0], "second": 1}, match=match)
    catch, _ = await broker.temporary(binding)
    for number, value in enumerate(VALUES):
        each, _ = await broker.temporary(bound("values", "", value=value))
        await broker.send("values", body=b"%d" % number, value=value, other="x")
        assert await each.settled() == b"%d" % number
        assert each.empty
    await broker.send("values", body=b"one", first="x", second=2)
    await broker.send("values", body=b"both", first="x", second=1)
    await broker.send("values", body=b"none", first="y")
    wanted = [b"both"] if match == "all" else [b"one", b"both"]
    assert [each.message.body for each in await catch.take(len(wanted))] == wanted
    assert catch.empty


async def test_header_values_of_different_types_are_different(broker: Opened) -> None:
    await broker.declare([], exchanges=[exchange("values", "headers")])
    catch, _ = await broker.temporary(bound("values", value=1))
    for other in ("1", True):  # 1.0 is the same on 3.10, and another one on 4.0
        with pytest.raises(Unroutable):
            await broker.send("values", value=other, mandatory=True)
    await broker.send("values", body=b"the same", value=1, mandatory=True)
    assert await catch.settled() == b"the same"


async def test_a_message_that_no_queue_takes_is_gone_unless_it_is_mandatory(broker: Opened) -> None:
    await broker.declare([], exchanges=[exchange("nobody", "topic")])
    await broker.send("nobody", "some.key")
    with pytest.raises(Unroutable, match=r"'nobody' passes the key 'some\.key' to no queue") as caught:
        await broker.send("nobody", "some.key", mandatory=True)
    assert (caught.value.exchange, caught.value.queue) == ("nobody", "some.key")
    assert not any(isinstance(event, ReplyDropped) for event in broker.told.events)
    catch, _ = await broker.temporary(bound("nobody", "some.key"))
    await broker.send("nobody", "some.key", b"taken", mandatory=True)
    assert await catch.settled() == b"taken"


@pytest.mark.broker_problems("not_found", "inequivalent arg")
@pytest.mark.parametrize(
    ("mine", "differences"),
    [
        (exchange("news", "topic"), {"kind": ("topic", "fanout")}),
        (exchange("news", "fanout", durable=False), {"durable": (False, True)}),
        (
            exchange("news", "fanout", arguments={"alternate-exchange": "other"}),
            {"alternate-exchange": ("other", None)},
        ),
    ],
)
async def test_an_exchange_that_is_another_one_is_a_mismatch_and_nothing_is_made(
    broker: Opened, mine: ExchangeDefinition, differences: dict[str, Any]
) -> None:
    await broker.declare([], exchanges=[exchange("news", "fanout")])
    with pytest.raises(ExchangeMismatch) as caught:
        await broker.declare(
            [Queue("new")], exchanges=[exchange("newer", "topic"), mine], bindings=[bound("newer", "#", queue="new")]
        )
    assert (caught.value.exchange, caught.value.differences) == ("news", differences)
    assert await counts(broker, "new", "new.dead") == [None, None]
    with pytest.raises(BrokerError, match="exchange 'newer' does not exist"):
        await broker.declare([], exchanges=[exchange("newer", "topic", declare=False)])


async def test_an_exchange_of_somebody_else_is_checked_and_never_made(broker: Opened) -> None:
    for missing in (
        broker.declare([Queue("new")], exchanges=[exchange("theirs", "topic", declare=False)]),
        broker.declare([Queue("new")], bindings=[bound("theirs", "#", queue="new")]),
        broker.temporary(bound("theirs", "#")),
    ):
        with pytest.raises(BrokerError, match=r"exchange 'theirs' does not exist on .*; start the program"):
            await missing
    with pytest.raises(Unroutable) as caught:
        await broker.declare([], exchanges=[exchange("mine", "topic")], bindings=[bound("mine", "#", queue="nowhere")])
    assert caught.value.queue == "nowhere"
    assert await counts(broker, "new", "new.dead") == [None, None]
    channel = await broker.open_channel()
    await channel.call(commands.Exchange.Declare(exchange="theirs", exchange_type="topic", durable=True))
    await channel.close()
    await broker.declare([], exchanges=[exchange("theirs", "topic", declare=False)])


async def test_a_binding_is_taken_away_once_and_the_others_stay(broker: Opened) -> None:
    first, second = bound("logs", "a", queue="work"), bound("logs", "b", queue="work")
    await broker.declare([Queue("work")], exchanges=[exchange("logs", "topic")], bindings=[first, second])
    for _ in range(2):
        await broker.unbind(first)
    await broker.unbind(replace(first, queue="nowhere"))
    await broker.unbind(replace(first, exchange="nowhere"))
    await broker.redeclare("work")
    await broker.send("logs", "a")
    await broker.send("logs", "b", mandatory=True)
    assert await counts(broker, "work") == [1]


async def test_a_publish_to_an_exchange_that_nobody_declared_fails_alone(broker: Opened) -> None:
    await broker.declare([Queue("work")])
    sends = [broker.publish(to("work", b"%d" % number), timeout_s=10) for number in range(20)]
    lost = Outgoing(message(b"x"), "key", mandatory=False, exchange="nowhere")
    sends.insert(10, broker.publish(lost, timeout_s=10))
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert "exchange 'nowhere' does not exist" in str(results.pop(10))
    assert results == [None] * 20


async def test_an_exchange_that_is_deleted_under_a_publisher_is_made_again_with_its_bindings(broker: Opened) -> None:
    await broker.declare(
        [Queue("work")], exchanges=[exchange("logs", "topic")], bindings=[bound("logs", "a.#", queue="work")]
    )
    catch, _ = await broker.temporary(bound("logs", "#"), prefetch=1000)
    work, confirmed = Catch(), set[bytes]()
    await broker.consume("work", prefetch=1000, deliver=work)

    async def produce(start: int) -> None:
        for number in range(start, start + 50):
            while not await taken(number):  # an exchange that is being deleted passes on to nobody, for a moment
                pass
            confirmed.add(b"%d" % number)

    async def taken(number: int) -> bool:
        try:
            await broker.send("logs", "a.key", b"%d" % number, mandatory=True)
        except Unroutable:
            return False
        return True

    producing = asyncio.gather(*(produce(50 * number) for number in range(10)))
    for goal in (50, 200):
        await until(lambda goal=goal: len(confirmed) > goal)
        await remove_exchange(broker, "logs")
    await producing
    assert len(confirmed) == 500
    await until(lambda: {each.message.body for each in work.all} == confirmed)
    await broker.send("logs", "b", b"for the temporary one", mandatory=True)
    await until(lambda: catch.all[-1].message.body == b"for the temporary one")


async def test_a_queue_that_is_deleted_under_its_consumer_has_its_bindings_back(broker: Opened) -> None:
    catch = Catch()
    await broker.declare(
        [Queue("work")], exchanges=[exchange("logs", "topic")], bindings=[bound("logs", "#", queue="work")]
    )
    await broker.consume("work", prefetch=1, deliver=catch)
    await remove_exchange(broker, "logs")
    await broker.declarer.delete("work")

    async def arrives() -> bool:
        try:
            await broker.send("logs", "key", b"again", mandatory=True)
        except Unroutable:
            return False
        return True

    await eventually(arrives, "the binding is back")
    assert await catch.settled() == b"again"


@pytest.mark.broker_problems("not_found", "resource_locked")
@pytest.mark.parametrize("fault", ["cut", "reset"])
async def test_after_a_lost_connection_a_temporary_queue_is_there_with_its_bindings_and_tells_the_gap(
    amqp_url: str, proxy: TcpProxy, fault: str
) -> None:
    async with Opened(through(proxy, amqp_url)) as behind, Opened(amqp_url) as other:
        # Not durable, and not the other program's: nobody else would make it again.
        await behind.declare([], exchanges=[exchange("logs", "topic", durable=False)])
        catch, name = await behind.temporary(bound("logs", "a.*"), bound("logs", "b"))
        await other.send("logs", "a.1", b"before", mandatory=True)
        held = await catch.next()
        await proxy.refuse()
        (proxy.cut if fault == "cut" else proxy.reset)()
        await until(lambda: behind.told.lost("consume"))
        assert await held.settle() is Settlement.LOST
        await eventually(lambda: is_gone(other, name), "the broker drops the queue with its connection")
        await other.send("logs", "a.1", b"missed")
        await remove_exchange(other, "logs")
        await proxy.accept_again()
        await until(behind.gaps)
        (gap,) = behind.gaps()
        assert gap.subscription == "test"
        assert 0 < gap.missing_s < 20
        for key in ("a.2", "b"):
            await other.send("logs", key, key.encode(), mandatory=True)
        assert [await catch.settled() for _ in range(2)] == [b"a.2", b"b"]
    async with Opened(amqp_url) as other:
        assert await is_gone(other, name)


async def is_gone(broker: AmqpBroker, queue: str) -> bool:
    return await counts(broker, queue) == [None]


@administered
@pytest.mark.broker_problems("not_found", "resource_locked")
async def test_a_temporary_queue_whose_old_connection_seems_to_be_there_is_made_when_the_broker_lets_go(
    shared_rabbit: SharedRabbit, amqp_url: str, proxy: TcpProxy
) -> None:
    async with Opened(through(proxy, amqp_url)) as behind:
        await behind.declare([], exchanges=[exchange("logs", "fanout")])
        catch, name = await behind.temporary(bound("logs"))
        await proxy.refuse()
        proxy.cut()
        async with await aio_pika.connect(amqp_url) as half_open, half_open.channel() as channel:
            await eventually(lambda: taken(channel, name), "somebody else's connection has the queue")
            began = shared_rabbit.log_position()
            await proxy.accept_again()
            await eventually(lambda: "resource_locked" in str(shared_rabbit.problems_since(began)), "it is refused")
            assert behind.gaps() == []
        await until(behind.gaps)
        await behind.send("logs", body=b"after", mandatory=True)
        assert await catch.settled() == b"after"


async def taken(channel: AbstractChannel, name: str) -> bool:
    """Make a queue for this connection alone, when nobody has it any more."""
    try:
        await channel.declare_queue(name, exclusive=True)
    except aio_pika.exceptions.ChannelClosed:
        await channel.reopen()
        return False
    return True


async def test_a_temporary_queue_that_somebody_deleted_is_made_again(broker: Opened) -> None:
    await broker.declare([], exchanges=[exchange("logs", "fanout")])
    catch, name = await broker.temporary(bound("logs"))
    await broker.declarer.delete(name)
    await until(broker.gaps)
    await broker.send("logs", body=b"after", mandatory=True)
    assert await catch.settled() == b"after"
    assert broker.gaps()[0].missing_s > 0


@pytest.mark.broker_problems("not_found", "unknown delivery tag")
async def test_a_lost_channel_is_no_gap_and_nothing_is_missed(broker: Opened) -> None:
    await broker.declare([], exchanges=[exchange("logs", "fanout")])
    catch, _ = await broker.temporary(bound("logs"))
    await broker.send("logs", body=b"1")
    held = await catch.next()
    channel = cast("Any", held).channel
    channel.ack(77)  # there is no such delivery
    await until(lambda: channel.gone is not None)
    await broker.send("logs", body=b"2", mandatory=True)
    bodies = sorted([await catch.settled(), await catch.settled()])
    assert bodies == [b"1", b"2"]
    assert broker.gaps() == []
    again = next(each for each in catch.all[1:] if each.message.body == b"1")
    assert again.redeliveries == 1
    assert again.message.headers[EXCHANGE] == "logs"


async def test_a_closed_subscription_leaves_no_queue_behind(broker: Opened) -> None:
    await broker.declare([], exchanges=[exchange("logs", "fanout")])
    name = new_subscription_queue()
    queue = TemporaryQueue(
        name=name, label="test", bindings=(bound("logs", queue=name),), limit=10, overflow="drop-head"
    )
    subscription = await broker.subscribe(queue, prefetch=1, deliver=Catch())
    assert await counts(broker, name) == [0]
    for _ in range(2):
        await subscription.close()
    assert await is_gone(broker, name)
    with pytest.raises(Unroutable):
        await broker.send("logs", mandatory=True)


async def test_a_full_queue_drops_its_oldest_or_refuses_the_publish(broker: Opened) -> None:
    await broker.declare([], exchanges=[exchange("logs", "fanout")])
    dropping, _ = await broker.temporary(bound("logs"), limit=2, prefetch=1)
    for number in range(5):
        await broker.send("logs", body=b"%d" % number, mandatory=True)
    assert [await dropping.settled() for _ in range(3)] == [b"0", b"3", b"4"]
    refusing, _ = await broker.temporary(bound("logs"), limit=2, overflow="reject-publish", prefetch=1)
    for number in range(3):
        await broker.send("logs", body=b"%d" % number)
    with pytest.raises(BrokerBlocked, match="a queue behind that exchange is full"):
        await broker.send("logs", body=b"3")
    assert [await refusing.settled() for _ in range(3)] == [b"0", b"1", b"2"]


@pytest.mark.broker_problems("not_found", "inequivalent arg")
async def test_a_queue_of_another_program_is_declared_as_it_declares_it(amqp_url: str, broker: Opened) -> None:
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        await channel.declare_queue("rpc_queue")  # as the tutorials do
        theirs = Queue("rpc_queue", type="classic", durable=False, arguments={})
        await broker.declare([theirs])
        with pytest.raises(QueueMismatch) as caught:
            await broker.declare([replace(theirs, durable=True, arguments={"x-max-priority": 3})])
        assert caught.value.differences == {"durable": (True, False), "x-max-priority": (3, None)}
        await channel.declare_queue("rpc_queue")
        catch, again = Catch(), Catch()
        consumer = await broker.consume("rpc_queue", prefetch=1, deliver=catch)
        await broker.publish(to("rpc_queue", b"job"), timeout_s=5)
        await catch.next()
        await consumer.close()
        await broker.consume("rpc_queue", prefetch=1, deliver=again)
        assert (await again.next()).redeliveries == 1
        assert await counts(broker, "rpc_queue.dead") == [0]


@pytest.mark.parametrize("arguments", [{"x-max-length": 5}, {"x-queue-type": "classic", "x-message-ttl": 60_000}, {}])
async def test_a_queue_with_arguments_has_exactly_these(
    amqp_url: str, broker: Opened, arguments: dict[str, Any]
) -> None:
    await broker.declare([Queue("theirs", type="classic", arguments=arguments)])
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        await channel.declare_queue("theirs", durable=True, arguments=arguments)
