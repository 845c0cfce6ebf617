"""Exchanges: declared, bound, and which queues get what."""

import asyncio

import pytest

from taskq.broker.protocol import Broker, Outgoing, Settlement
from taskq.errors import BrokerError, ExchangeMismatch, Unroutable
from taskq.tasks.exchanges import Binding, ExchangeDefinition, ExchangeKind
from taskq.tasks.queues import Queue
from taskq.wire.headers import EXCHANGE, KEY, for_copy
from tests.conformance.stand import (
    TIMEOUT_S,
    Stand,
    bodies,
    consuming,
    message,
    publish,
    through,
    to,
    turnover,
)


async def declared(stand: Stand, kind: ExchangeKind, *bound: tuple[str, str]) -> Broker:
    """Open a broker with an exchange ``news`` and queues bound to it by keys."""
    broker = await stand.open()
    await broker.declare(
        [Queue(name) for name in dict.fromkeys(queue for queue, _ in bound)],
        exchanges=[ExchangeDefinition(name="news", kind=kind)],
        bindings=[Binding(exchange="news", queue=queue, key=key) for queue, key in bound],
    )
    return broker


async def test_declaring_again_is_harmless(stand: Stand) -> None:
    broker = await declared(stand, "topic", ("a", "x.*"), ("a", "x.*"))
    exchange = ExchangeDefinition(name="news", kind="topic")
    binding = Binding(exchange="news", queue="a", key="x.*")
    await broker.declare([Queue("a")], exchanges=[exchange, exchange], bindings=[binding, binding])
    await (await stand.open()).declare([], exchanges=[exchange])
    await publish(broker, through("news", "x.1", b"1"))
    assert await bodies(broker, "a") == [[b"1"]]


async def test_bindings_that_are_not_named_again_stay(stand: Stand) -> None:
    broker = await declared(stand, "direct", ("a", "x"))
    await declared(stand, "direct", ("a", "y"))
    await publish(broker, through("news", "x", b"1"), through("news", "y", b"2"))
    assert await bodies(broker, "a") == [[b"1", b"2"]]


async def test_an_exchange_of_another_kind_is_a_mismatch_that_names_both(stand: Stand) -> None:
    stand.provokes("inequivalent arg")
    broker = await declared(stand, "fanout")
    with pytest.raises(ExchangeMismatch, match="'news'") as caught:
        await broker.declare([], exchanges=[ExchangeDefinition(name="news", kind="topic")])
    assert list(caught.value.differences.values()) == [("topic", "fanout")]


async def test_an_exchange_that_is_not_durable_is_a_mismatch_with_one_that_is(stand: Stand) -> None:
    stand.provokes("inequivalent arg")
    broker = await stand.open()
    await broker.declare([], exchanges=[ExchangeDefinition(name="news", kind="fanout", durable=False)])
    with pytest.raises(ExchangeMismatch) as caught:
        await broker.declare([], exchanges=[ExchangeDefinition(name="news", kind="fanout")])
    assert caught.value.differences == {"durable": (True, False)}


async def test_an_exchange_of_somebody_else_is_used_and_never_declared(stand: Stand) -> None:
    broker = await stand.open()
    foreign = ExchangeDefinition(name="news", kind="fanout", declare=False)
    with pytest.raises(BrokerError, match="'news'"):
        await broker.declare([], exchanges=[foreign])
    with pytest.raises(BrokerError, match="'news'"):
        await broker.publish(through("news"), timeout_s=TIMEOUT_S)
    await declared(stand, "fanout")
    await broker.declare([Queue("a")], exchanges=[foreign], bindings=[Binding(exchange="news", queue="a")])
    await publish(broker, through("news", body=b"1"))
    assert await bodies(broker, "a") == [[b"1"]]


async def test_a_binding_to_a_missing_exchange_or_queue_is_refused(stand: Stand) -> None:
    broker = await declared(stand, "fanout", ("a", ""))
    with pytest.raises(BrokerError, match="'nowhere'"):
        await broker.declare([], bindings=[Binding(exchange="nowhere", queue="a")])
    with pytest.raises(BrokerError, match="'missing'"):
        await broker.declare([], bindings=[Binding(exchange="news", queue="missing")])


@pytest.mark.parametrize("mandatory", [True, False])
async def test_a_publish_to_a_missing_exchange_fails_alone_and_names_it(stand: Stand, mandatory: bool) -> None:
    broker = await declared(stand, "fanout", ("a", ""))
    wanted = [through("news", body=b"1"), through("nowhere", "x", mandatory=mandatory), to("a", b"2")]
    results = await asyncio.gather(
        *[broker.publish(each, timeout_s=TIMEOUT_S) for each in wanted], return_exceptions=True
    )
    assert results[0] is results[2] is None
    assert isinstance(results[1], BrokerError)
    assert not isinstance(results[1], Unroutable)
    assert "exchange 'nowhere' does not exist" in str(results[1])
    (stored,) = await bodies(broker, "a")
    assert set(stored) == {b"1", b"2"}, "RabbitMQ closes the channel, which may double what was on its way"
    assert len(stored) == 2 or not stand.embedded


async def test_fanout_gives_each_bound_queue_a_copy_whatever_the_key(stand: Stand) -> None:
    broker = await declared(stand, "fanout", ("a", ""), ("b", ""))
    await broker.declare([Queue("apart")])
    await publish(broker, through("news", "x", b"1"), through("news", "", b"2"))
    assert await bodies(broker, "a", "b", "apart") == [[b"1", b"2"], [b"1", b"2"], []]


async def test_direct_gives_each_queue_of_the_key_a_copy(stand: Stand) -> None:
    broker = await declared(stand, "direct", ("a", "x"), ("a", "y"), ("b", "x"), ("c", "*"), ("c", "#"))
    await publish(broker, *[through("news", key, key.encode()) for key in ("x", "y", "z", "x.y", "X")])
    assert await bodies(broker, "a", "b", "c") == [[b"x", b"y"], [b"x"], []]


TOPICS = [
    ("quick.orange.rabbit", "12"),
    ("lazy.orange.elephant", "12"),
    ("quick.orange.fox", "1"),
    ("lazy.brown.fox", "2"),
    ("lazy.pink.rabbit", "2"),
    ("quick.brown.fox", ""),
    ("orange", ""),
    ("quick.orange.male.rabbit", ""),
    ("lazy.orange.male.rabbit", "2"),
    ("lazy", "2"),
    (".orange.", "1"),
    ("", ""),
]


async def test_topic_matches_words_and_gives_a_queue_one_copy_however_many_bindings_match(stand: Stand) -> None:
    bound = [("1", "*.orange.*"), ("2", "*.*.rabbit"), ("2", "lazy.#")]
    broker = await declared(stand, "topic", *bound)
    await publish(broker, *[through("news", key, key.encode()) for key, _ in TOPICS])
    expected = [[key.encode() for key, queues in TOPICS if queue in queues] for queue in "12"]
    assert await bodies(broker, "1", "2") == expected


async def test_headers_are_matched_all_or_any_by_value(stand: Stand) -> None:
    broker = await declared(stand, "headers")
    wanted = {"format": "pdf", "pages": 1}
    await broker.declare(
        [Queue("all"), Queue("any")],
        bindings=[
            Binding(exchange="news", queue="all", headers=wanted),
            Binding(exchange="news", queue="any", headers=wanted, match="any"),
        ],
    )
    sent: list[dict[str, object]] = [
        {"format": "pdf", "pages": 1, "more": True},
        {"format": "pdf", "pages": 2},
        {"pages": "1"},
        {"pages": True},
        {"format": "PDF"},
        {"pages": 1},
        {},
    ]
    await publish(broker, *[through("news", "ignored", b"%d" % n, **headers) for n, headers in enumerate(sent)])
    assert await bodies(broker, "all", "any") == [[b"0"], [b"0", b"1", b"5"]]


async def test_a_message_that_no_queue_takes_is_no_error_unless_it_is_mandatory(stand: Stand) -> None:
    broker = await declared(stand, "direct", ("a", "x"))
    await broker.publish(through("news", "y"), timeout_s=TIMEOUT_S)
    with pytest.raises(Unroutable, match=r"'news'.*'y'") as caught:
        await broker.publish(through("news", "y", mandatory=True), timeout_s=TIMEOUT_S)
    assert (caught.value.queue, caught.value.exchange) == ("y", "news")
    await broker.publish(through("news", "x", b"1", mandatory=True), timeout_s=TIMEOUT_S)
    assert await bodies(broker, "a") == [[b"1"]]


async def test_a_delivery_says_through_which_exchange_and_with_which_key_it_came(stand: Stand) -> None:
    broker = await declared(stand, "topic", ("a", "x.#"))
    await publish(broker, through("news", "x.y", color="red"), to("a"))
    catch, _ = await consuming(broker, "a", prefetch=2)
    first, second = await catch.take(2)
    assert first.message.headers == {"color": "red", EXCHANGE: "news", KEY: "x.y"}
    assert first.queue == "a"
    assert second.message.headers == {}


async def test_a_copy_of_a_delivery_goes_to_its_own_queue_alone_and_keeps_where_it_came_from(stand: Stand) -> None:
    broker = await declared(stand, "fanout", ("a", ""), ("b", ""))
    await publish(broker, through("news", "x", b"1"))
    catch, _ = await consuming(broker, "a")
    delivery = await catch.next()
    copy = message(delivery.message.body, headers=for_copy(delivery.message.headers))
    assert await delivery.settle([Outgoing(copy, delivery.queue)]) is Settlement.DONE
    again = await catch.next()
    assert (again.message.headers[EXCHANGE], again.message.headers[KEY]) == ("news", "x")
    assert await bodies(broker, "b") == [[b"1"]]


async def test_a_redelivered_copy_goes_to_its_own_queue_alone(stand: Stand) -> None:
    broker = await declared(stand, "fanout", ("a", ""), ("b", ""))
    await publish(broker, through("news", "x", b"1"))
    first, consumer = await consuming(broker, "a")
    await first.next()
    await consumer.close()
    second, _ = await consuming(broker, "a")
    again = await second.next()
    assert (again.redeliveries, again.message.headers[EXCHANGE]) == (1, "news")
    assert await bodies(broker, "b") == [[b"1"]]


async def test_a_settle_may_publish_to_an_exchange(stand: Stand) -> None:
    broker = await declared(stand, "fanout", ("a", ""), ("b", ""))
    await broker.declare([Queue("work")])
    await publish(broker, to("work"))
    catch, _ = await consuming(broker, "work")
    assert await (await catch.next()).settle([through("news", "x", b"1")]) is Settlement.DONE
    assert await bodies(broker, "a", "b") == [[b"1"], [b"1"]]


async def test_an_unbound_queue_gets_nothing_more_by_that_binding(stand: Stand) -> None:
    broker = await declared(stand, "direct", ("a", "x"), ("a", "y"), ("b", "x"))
    await broker.unbind(Binding(exchange="news", queue="a", key="x"))
    await publish(broker, through("news", "x", b"x"), through("news", "y", b"y"))
    assert await bodies(broker, "a", "b") == [[b"y"], [b"x"]]


async def test_unbinding_names_the_header_values_too_and_what_is_not_there_is_no_error(stand: Stand) -> None:
    broker = await declared(stand, "headers")
    bindings = [Binding(exchange="news", queue="a", headers={"n": number, "m": 0}) for number in (1, 2)]
    await broker.declare([Queue("a")], bindings=bindings)
    for _ in range(2):
        await broker.unbind(Binding(exchange="news", queue="a", headers={"m": 0, "n": 1}))
    await publish(broker, *[through("news", "", b"%d" % number, n=number, m=0) for number in (1, 2)])
    assert await bodies(broker, "a") == [[b"2"]]


async def test_a_waiting_consumer_of_another_broker_gets_what_an_exchange_passes_in_order(stand: Stand) -> None:
    publisher, worker = await declared(stand, "fanout", ("a", ""), ("b", "")), await stand.open()
    catches = [(await consuming(worker, queue, prefetch=3))[0] for queue in ("a", "b")]
    await turnover(worker)
    sent = [b"%d" % number for number in range(50)]
    await publish(publisher, *[through("news", body=body) for body in sent])
    assert [[await catch.settled() for _ in sent] for catch in catches] == [sent, sent]


async def test_the_priority_of_a_message_counts_in_each_queue_that_has_priorities(stand: Stand) -> None:
    broker = await declared(stand, "fanout")
    queue = Queue("a", type="classic", max_priority=5)
    await broker.declare([queue], bindings=[Binding(exchange="news", queue="a")])
    low, high = message(b"low"), message(b"high", priority=9)
    await publish(broker, *[Outgoing(each, "", mandatory=False, exchange="news") for each in (low, high)])
    catch, _ = await consuming(broker, "a")
    assert [await catch.settled() for _ in range(2)] == [b"high", b"low"]
