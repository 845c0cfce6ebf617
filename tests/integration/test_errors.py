"""What keeps a program from its broker: each cause has its own error, in time, without a password, with what to do."""

import asyncio
import time
from urllib.parse import urlsplit

import pytest

from taskq import AccessRefused, BrokerError, BrokerUnreachable, MessageTooLarge, TaskQ
from taskq.broker.amqp.broker import AmqpBroker
from taskq.clock import SystemClock
from taskq.lifecycle import ConsumerInterrupted, ConsumerResumed
from taskq.tasks.queues import Queue
from tests.conformance.stand import Catch, to
from tests.integration.test_connections import Told, opened, through
from tests.support.rabbit import RabbitNode
from tests.support.rabbit.ports import free_ports
from tests.support.tcpproxy import TcpProxy
from tests.support.waiting import eventually, until

SECRET = "hunter2"


async def refusal(url: str, *, connect_timeout_s: float = 10.0) -> tuple[BrokerError, float]:
    """Return the error of opening a broker, and after how many seconds it came."""
    began = time.monotonic()
    with pytest.raises(BrokerError) as caught:
        async with AmqpBroker(url, clock=SystemClock(), connect_timeout_s=connect_timeout_s):
            pass
    text = str(caught.value) + repr(caught.value.__cause__)
    assert SECRET not in text
    assert "guest:guest" not in text
    return caught.value, time.monotonic() - began


def elsewhere(url: str, *, user: str = f"guest:{SECRET}", host: str = "", path: str = "") -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}@{host or parts.netloc.rpartition('@')[2]}", path=path or parts.path).geturl()


@pytest.mark.broker_problems
@pytest.mark.parametrize(
    ("user", "path", "words"),
    [(f"guest:{SECRET}", "", "user and password"), ("guest:guest", "/nowhere", "virtual host")],
    ids=["a wrong password", "a virtual host that does not exist"],
)
async def test_what_is_refused_is_named_and_not_tried_again(amqp_url: str, user: str, path: str, words: str) -> None:
    parts = urlsplit(amqp_url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with TcpProxy(parts.hostname, parts.port) as proxy:
        error, _ = await refusal(elsewhere(amqp_url, user=user, host=f"127.0.0.1:{proxy.port}", path=path))
    assert isinstance(error, AccessRefused)
    assert words in str(error)
    assert proxy.accepted == 1


async def test_nothing_that_listens_and_an_unknown_host_are_unreachable_within_the_timeout(amqp_url: str) -> None:
    (port,) = free_ports(1)
    for host, words in ((f"127.0.0.1:{port}", "connection refused"), ("no.such.host.invalid:5672", "no address")):
        error, took_s = await refusal(elsewhere(amqp_url, host=host), connect_timeout_s=0.7)
        assert type(error) is BrokerUnreachable
        assert words in str(error)
        assert 0.5 < took_s < 5


@pytest.mark.broker_problems("not_found")
async def test_a_second_host_stands_in_for_the_first(amqp_url: str) -> None:
    (port,) = free_ports(1)
    parts = urlsplit(amqp_url)
    both = f"127.0.0.1:{port},{parts.netloc.rpartition('@')[2]}"
    async with opened(elsewhere(amqp_url, user="guest:guest", host=both)) as broker:
        await broker.publish(to("work"), timeout_s=5)


@pytest.mark.broker_problems
async def test_a_missing_permission_is_named_with_the_command_that_gives_it(own_node: RabbitNode) -> None:
    own_node.add_user("ada", SECRET)
    own_node.allow("ada", "/", "^allowed")
    url = elsewhere(own_node.url(), user=f"ada:{SECRET}")
    async with opened(own_node.url()), AmqpBroker(url, clock=SystemClock()) as broker:
        with pytest.raises(AccessRefused, match="rabbitmqctl set_permissions"):
            await broker.declare([Queue("forbidden")])
        with pytest.raises(AccessRefused, match="'ada'"):
            await broker.consume("work", prefetch=1, deliver=Catch())
        neighbours = [broker.publish(to("work", b"%d" % number), timeout_s=5) for number in range(3)]
        results = await asyncio.gather(*neighbours, return_exceptions=True)
        assert all(isinstance(result, AccessRefused) for result in results), results


def set_largest_message(node: RabbitNode, size: str) -> str:
    """Set the largest message that new channels take, as an Erlang term, and return what it was."""
    return node.eval(
        "{ok, Before} = application:get_env(rabbit, max_message_size), "
        f"application:set_env(rabbit, max_message_size, {size}), "
        f"catch persistent_term:put(max_message_size, {size}), Before"
    )


async def test_a_message_above_the_brokers_limit_fails_alone(own_node: RabbitNode) -> None:
    before = set_largest_message(own_node, "100000")
    try:
        await one_among_fifty_is_too_large(own_node.url(), b"x" * 100_001)
    finally:
        set_largest_message(own_node, before)


async def test_headers_above_the_brokers_frame_fail_alone_whenever_they_are_sent(own_node: RabbitNode) -> None:
    before = own_node.eval("{ok, Before} = application:get_env(rabbit, frame_max), Before")
    own_node.eval("application:set_env(rabbit, frame_max, 8192)")
    small = to("work")
    large = small._replace(message=small.message._replace(headers={f"h{n}": "x" * 100 for n in range(110)}))
    parts = urlsplit(own_node.url())
    assert parts.hostname is not None
    assert parts.port is not None
    try:
        async with TcpProxy(parts.hostname, parts.port) as proxy, opened(through(proxy, own_node.url())) as broker:

            async def both() -> None:
                sends = [broker.publish(each, timeout_s=10) for each in (large, small)]
                error, fine = await asyncio.gather(*sends, return_exceptions=True)
                assert isinstance(error, MessageTooLarge)
                assert error.limit == 8184
                assert fine is None

            await both()
            await proxy.refuse()
            proxy.cut()
            waiting = asyncio.create_task(both())
            await asyncio.sleep(0)
            await proxy.accept_again()
            await waiting
            await both()
    finally:
        own_node.eval(f"application:set_env(rabbit, frame_max, {before})")


async def test_an_innocent_publish_gets_no_error_of_one_that_was_given_up(own_node: RabbitNode) -> None:
    before = set_largest_message(own_node, "100000")
    try:
        async with opened(own_node.url()) as broker:
            culprit = asyncio.ensure_future(broker.publish(to("work", b"x" * 100_001), timeout_s=10))
            innocent = broker.publish(to("work", b"small"), timeout_s=10)
            culprit.cancel()
            await innocent
    finally:
        set_largest_message(own_node, before)


async def one_among_fifty_is_too_large(url: str, large: bytes) -> None:
    async with opened(url) as broker:
        sends = [
            asyncio.ensure_future(broker.publish(to("work", large if number == 25 else b"x"), timeout_s=60))
            for number in range(51)
        ]
        results = await asyncio.gather(*sends, return_exceptions=True)
        assert isinstance(results.pop(25), MessageTooLarge)
        assert results == [None] * 50
        await broker.publish(to("work"), timeout_s=5)


# RabbitMQ may crash inside (3.10: badkey, 4.0: key_exists) when a queue is consumed in the moment of its deletion.
@pytest.mark.broker_problems("not_found", "badkey", "key_exists")
async def test_a_queue_that_is_deleted_under_its_consumer_is_made_and_consumed_again(amqp_url: str) -> None:
    told, catch = Told(), Catch()
    async with opened(amqp_url, told) as broker, opened(amqp_url) as other:
        await broker.consume("work", prefetch=2, deliver=catch)
        await broker.publish(to("work", b"running"), timeout_s=5)
        running = await catch.next()
        await other.declarer.delete("work")
        await until(lambda: any(isinstance(event, ConsumerInterrupted) for event in told.events))
        await until(lambda: any(isinstance(event, ConsumerResumed) for event in told.events))
        await other.publish(to("work", b"after"), timeout_s=5)
        assert await catch.settled() == b"after"
        await running.settle()


# RabbitMQ 4.0 may crash inside (key_exists) when a queue is consumed in the moment in which it is made.
@pytest.mark.broker_problems("not_found", "key_exists")
async def test_a_queue_that_was_never_described_is_consumed_again_when_its_owner_makes_it(amqp_url: str) -> None:
    told, catch = Told(), Catch()
    async with opened(amqp_url) as owner, AmqpBroker(amqp_url, clock=SystemClock(), emit=told.events.append) as broker:
        await broker.consume("work", prefetch=2, deliver=catch)
        await owner.declarer.delete("work")
        await until(lambda: any(isinstance(event, ConsumerInterrupted) for event in told.events))
        await owner.declare([Queue("work", delivery_limit=1000)])
        await owner.publish(to("work", b"after"), timeout_s=5)
        assert await catch.settled() == b"after"


@pytest.mark.broker_problems
async def test_connections_that_an_administrator_closes_come_back(own_node: RabbitNode) -> None:
    told, catch = Told(), Catch()
    async with opened(own_node.url(), told) as broker:
        await broker.consume("work", prefetch=2, deliver=catch)
        await asyncio.to_thread(own_node.close_connections, "maintenance")
        await broker.publish(to("work", b"after"), timeout_s=10)
        assert await catch.settled() == b"after"
        await eventually(lambda: told.back("publish") and told.back("consume"), "both are back")
        assert "maintenance" in told.lost("publish")[0].reason


async def test_a_program_that_starts_before_its_broker_waits_for_it(own_node: RabbitNode) -> None:
    await asyncio.to_thread(own_node.stop)
    app = TaskQ[object]("early", url=own_node.url(), connect_timeout=60)
    starting = asyncio.create_task(asyncio.to_thread(own_node.start))
    async with app:
        assert await app.queues() == []
    await starting
