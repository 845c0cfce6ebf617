"""Temporary queues: of one process alone, bounded, and gone with it."""

import gc
import weakref

import pytest

from taskq.broker.protocol import Broker, Consumer
from taskq.errors import BrokerBlocked, BrokerError, Unroutable
from taskq.tasks.exchanges import Binding, ExchangeDefinition
from taskq.tasks.queues import Queue
from taskq.wire.headers import EXCHANGE
from tests.conformance.stand import (
    TIMEOUT_S,
    Catch,
    Stand,
    bodies,
    publish,
    subscribed,
    temporary,
    through,
    to,
    turnover,
)
from tests.support.waiting import eventually


async def news(stand: Stand) -> Broker:
    """Open a broker with a topic exchange ``news``."""
    broker = await stand.open()
    await broker.declare([], exchanges=[ExchangeDefinition(name="news", kind="topic")])
    return broker


async def is_heard(broker: Broker, key: str = "x") -> bool:
    """Say whether some queue takes what the exchange passes on."""
    try:
        await broker.publish(through("news", key, mandatory=True), timeout_s=TIMEOUT_S)
    except Unroutable:
        return False
    return True


async def test_each_subscription_gets_a_copy_of_its_own(stand: Stand) -> None:
    publisher = await news(stand)
    listening = [(await subscribed(await stand.open(), temporary(("news", "x.#"))))[0] for _ in range(2)]
    listening.append((await subscribed(publisher, temporary(("news", "x.#"), ("news", "*.1"))))[0])
    await publish(publisher, *[through("news", f"x.{n}", b"%d" % n) for n in range(5)])
    for catch in listening:
        assert [await catch.settled() for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    await turnover(publisher)
    assert [catch.empty for catch in listening] == [True] * 3
    assert [catch.most_open for catch in listening] == [1] * 3


async def test_a_delivery_says_its_queue_and_where_it_came_from(stand: Stand) -> None:
    broker = await news(stand)
    queue = temporary(("news", "x"))
    catch, _ = await subscribed(broker, queue)
    await publish(broker, through("news", "x"))
    delivery = await catch.next()
    assert (delivery.queue, delivery.message.headers[EXCHANGE], delivery.redeliveries) == (queue.name, "news", 0)


async def test_a_copy_goes_to_the_queue_that_asked_for_it_alone(stand: Stand) -> None:
    broker = await news(stand)
    queue = temporary(("news", "#"))
    catch, _ = await subscribed(broker, queue)
    other, _ = await subscribed(broker, temporary(("news", "#")))
    await publish(broker, through("news", "x", b"1"))
    delivery = await catch.next()
    await delivery.settle([to(queue.name, b"again")])
    assert await catch.settled() == b"again"
    assert await other.settled() == b"1"
    await turnover(broker)
    assert other.empty


async def test_a_missing_exchange_is_refused_and_leaves_no_queue(stand: Stand) -> None:
    broker = await news(stand)
    queue = temporary(("news", "x"), ("nowhere", "x"))
    with pytest.raises(BrokerError, match="'nowhere'"):
        await broker.subscribe(queue, prefetch=1, deliver=Catch())
    assert not await is_heard(broker)


async def test_closing_the_consumer_takes_queue_and_bindings_away(stand: Stand) -> None:
    broker = await news(stand)
    catch, consumer = await subscribed(broker, temporary(("news", "x")))
    await publish(broker, through("news", "x", b"held"), through("news", "x", b"waits"))
    await catch.next()
    await consumer.close()
    await consumer.close()
    assert not await is_heard(broker)
    assert len(catch.all) == 1


async def test_a_consumer_that_is_closed_is_let_go_of(stand: Stand) -> None:
    broker = await news(stand)
    closed: list[weakref.ref[Consumer]] = []
    for _ in range(5):
        _, consumer = await subscribed(broker, temporary(("news", "x")))
        closed.append(weakref.ref(consumer))
        await consumer.close()
        del consumer
    await subscribed(broker, temporary(("news", "x")))

    def left() -> list[Consumer]:
        gc.collect()
        return [consumer for reference in closed if (consumer := reference()) is not None]

    await eventually(lambda: not left(), "all are let go of", detail=left)


async def test_closing_the_broker_takes_queue_and_bindings_away(stand: Stand) -> None:
    keeper = await news(stand)
    async with stand.new() as broker:
        catch, _ = await subscribed(broker, temporary(("news", "x")))
        await publish(keeper, through("news", "x"))
        held = await catch.next()
    assert not await is_heard(keeper)
    assert (await held.settle()).value == "lost"


async def test_a_killed_process_leaves_no_queue_behind(lasting: Stand) -> None:
    broker = await news(lasting)
    holder = await lasting.subscribed_process("news", "x")
    assert await is_heard(broker)
    holder.kill()

    async def unheard() -> bool:
        return not await is_heard(broker)

    await eventually(unheard, "the queue of the killed process is gone")


async def test_the_own_queue_of_a_living_process_is_consumed_by_nobody_else(stand: Stand) -> None:
    stand.provokes("resource_locked")
    broker, other = await news(stand), await stand.open()
    queue = temporary(("news", "x"))
    catch, _ = await subscribed(broker, queue)
    with pytest.raises(BrokerError):
        await other.consume(queue.name, prefetch=1, deliver=Catch())
    await publish(broker, through("news", "x", b"1"))
    assert await catch.settled() == b"1"


async def test_above_its_limit_a_queue_drops_the_oldest_that_nobody_holds(stand: Stand) -> None:
    broker = await news(stand)
    catch, _ = await subscribed(broker, temporary(("news", "#"), limit=2))
    await publish(broker, through("news", "x", b"0"))
    held = await catch.next()
    for number in range(1, 6):
        await publish(broker, through("news", "x", b"%d" % number))
    await held.settle()
    assert [await catch.settled() for _ in range(2)] == [b"4", b"5"]
    await turnover(broker)
    assert catch.empty


async def test_at_its_limit_a_queue_that_rejects_makes_the_publish_fail(stand: Stand) -> None:
    broker = await news(stand)
    catch, _ = await subscribed(broker, temporary(("news", "#"), limit=2, overflow="reject-publish"))
    await publish(broker, through("news", "x", b"0"))
    held = await catch.next()
    for number in (1, 2):
        await publish(broker, through("news", "x", b"%d" % number))
    with pytest.raises(BrokerBlocked):
        await broker.publish(through("news", "x", b"refused"), timeout_s=TIMEOUT_S)
    await held.settle()
    assert [await catch.settled() for _ in range(2)] == [b"1", b"2"]
    await publish(broker, through("news", "x", b"3"))
    assert await catch.settled() == b"3"


async def test_on_the_embedded_broker_a_refused_message_is_stored_in_no_other_queue_either(embedded: Stand) -> None:
    broker = await news(embedded)
    await broker.declare([Queue("work")], bindings=[Binding(exchange="news", queue="work", key="#")])
    catch, _ = await subscribed(broker, temporary(("news", "#"), limit=1, overflow="reject-publish", label="slow"))
    await publish(broker, through("news", "x", b"0"))
    await catch.next()
    await publish(broker, through("news", "x", b"1"))
    with pytest.raises(BrokerBlocked, match="'slow' has 1 messages waiting"):
        await broker.publish(through("news", "x", b"refused"), timeout_s=TIMEOUT_S)
    assert await bodies(broker, "work") == [[b"0", b"1"]]


async def test_the_limit_holds_within_many_publishes_at_once(stand: Stand) -> None:
    broker = await news(stand)
    catch, _ = await subscribed(broker, temporary(("news", "#"), limit=3))
    await publish(broker, through("news", "x", b"held"))
    held = await catch.next()
    await publish(broker, *[through("news", "x", b"%d" % number) for number in range(200)])
    await held.settle()
    assert [await catch.settled() for _ in range(3)] == [b"197", b"198", b"199"]
