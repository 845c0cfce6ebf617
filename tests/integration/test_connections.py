"""Connections that break between a program and RabbitMQ: everything comes back by itself, and nothing is lost."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from taskq import TaskQ
from taskq.broker.amqp.broker import AmqpBroker
from taskq.broker.protocol import Delivery
from taskq.clock import SystemClock
from taskq.lifecycle import BrokerConnected, BrokerLost, Event
from taskq.tasks.queues import Queue
from tests.conformance.stand import Catch, to
from tests.support.tcpproxy import TcpProxy
from tests.support.waiting import eventually, until

pytestmark = [pytest.mark.broker_problems("not_found"), pytest.mark.alone]

JOBS = 2_000
CUTS = 30
PREFETCH = 50
BACK_S = 1.0


@pytest.fixture
async def proxy(amqp_url: str) -> AsyncIterator[TcpProxy]:
    parts = urlsplit(amqp_url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with TcpProxy(parts.hostname, parts.port) as proxy:
        yield proxy


def through(proxy: TcpProxy, url: str) -> str:
    """Return the URL of the same broker, behind the proxy."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"guest:guest@127.0.0.1:{proxy.port}").geturl()


class Told:
    """Collects what a broker tells of its connections."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def lost(self, role: str) -> list[BrokerLost]:
        return [event for event in self.events if isinstance(event, BrokerLost) and event.role == role]

    def back(self, role: str) -> int:
        return sum(isinstance(event, BrokerConnected) and event.again and event.role == role for event in self.events)


@asynccontextmanager
async def opened(url: str, told: Told | None = None, *, heartbeat_s: int = 15) -> AsyncIterator[AmqpBroker]:
    emit = None if told is None else told.events.append
    async with AmqpBroker(url, clock=SystemClock(), emit=emit, heartbeat_s=heartbeat_s) as broker:
        await broker.declare([Queue("work", delivery_limit=1000)])
        yield broker


class Ledger:
    """Settles each delivery after a moment, and counts how often each body was settled."""

    def __init__(self, rng: random.Random) -> None:
        self.settled: dict[bytes, int] = {}
        self.lost = 0
        self._rng = rng
        self._running: set[asyncio.Task[None]] = set()

    def __call__(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._settle(delivery))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _settle(self, delivery: Delivery) -> None:
        await asyncio.sleep(self._rng.uniform(0, 0.01))
        if (await delivery.settle()).value == "lost":
            self.lost += 1
        else:
            body = delivery.message.body
            self.settled[body] = self.settled.get(body, 0) + 1


async def test_nothing_confirmed_is_lost_while_connections_are_cut_again_and_again(
    amqp_url: str, proxy: TcpProxy
) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    ledger = Ledger(rng)
    url = through(proxy, amqp_url)
    confirmed: set[bytes] = set()
    left = iter(range(JOBS))
    done = asyncio.Event()

    async def produce(broker: AmqpBroker) -> None:
        for number in left:
            body = b"%d" % number
            await broker.publish(to("work", body), timeout_s=30)
            confirmed.add(body)
            await asyncio.sleep(rng.uniform(0, 0.1))

    async def break_things() -> None:
        for number in range(CUTS):
            await asyncio.sleep(rng.uniform(0.02, 0.25))
            match number % 3:
                case 0:
                    proxy.cut()
                case 1:
                    proxy.reset()
                case _:
                    proxy.cut_in(rng.randrange(1, 3000))
        done.set()

    async with opened(url) as broker:
        await broker.consume("work", prefetch=PREFETCH, deliver=ledger)
        async with asyncio.TaskGroup() as group:
            group.create_task(break_things())
            for _ in range(20):
                group.create_task(produce(broker))
        await eventually(lambda: confirmed <= set(ledger.settled), f"all are settled (seed {seed})", within_s=30)
    again = sum(ledger.settled.values()) - len(ledger.settled)
    print(f"seed {seed}: {proxy.accepted} connections, {again} settled again, {ledger.lost} settled to nothing")
    assert confirmed == {b"%d" % number for number in range(JOBS)}
    assert set(ledger.settled) == confirmed
    assert proxy.accepted > CUTS


@pytest.mark.parametrize("fault", ["cut", "reset"])
async def test_publishing_and_consuming_go_on_within_a_second(amqp_url: str, proxy: TcpProxy, fault: str) -> None:
    told, catch = Told(), Catch()
    async with opened(through(proxy, amqp_url), told) as broker:
        await broker.consume("work", prefetch=10, deliver=catch)
        await broker.publish(to("work", b"before"), timeout_s=5)
        assert await catch.settled() == b"before"
        await proxy.refuse()
        (proxy.cut if fault == "cut" else proxy.reset)()
        waiting = asyncio.ensure_future(broker.publish(to("work", b"meanwhile"), timeout_s=30))
        await until(lambda: told.lost("publish") and told.lost("consume"))
        await asyncio.sleep(2)  # long enough for the pauses between tries to have grown as long as they get
        await proxy.accept_again()
        reachable = time.monotonic()
        await waiting
        while await catch.settled() != b"meanwhile":
            pass  # the ack of the first was perhaps not on its way yet, so that it came again
        assert time.monotonic() - reachable < BACK_S
        assert (told.back("publish"), told.back("consume")) == (1, 1)


async def test_a_black_hole_is_noticed_within_two_heartbeats(amqp_url: str, proxy: TcpProxy) -> None:
    told, catch = Told(), Catch()
    async with opened(through(proxy, amqp_url), told, heartbeat_s=2) as broker:
        await broker.consume("work", prefetch=10, deliver=catch)
        proxy.black_hole()
        began = time.monotonic()
        waiting = asyncio.ensure_future(broker.publish(to("work", b"swallowed"), timeout_s=30))
        await until(lambda: told.lost("publish") and told.lost("consume"))
        assert 2.0 < time.monotonic() - began < 4.0
        assert "no sign of life" in told.lost("publish")[0].reason
        proxy.flow()
        await waiting
        assert await catch.settled() == b"swallowed"


async def test_a_stall_shorter_than_the_heartbeat_breaks_nothing(amqp_url: str, proxy: TcpProxy) -> None:
    told, catch = Told(), Catch()
    async with opened(through(proxy, amqp_url), told) as broker:
        await broker.consume("work", prefetch=1000, deliver=catch)
        proxy.stall()
        sends = [asyncio.ensure_future(broker.publish(to("work", b"x" * 10_000), timeout_s=30)) for _ in range(500)]
        await asyncio.sleep(1.5)
        assert not any(send.done() for send in sends)
        proxy.flow()
        await asyncio.gather(*sends)
        assert len(await catch.take(500)) == 500
        assert [event for event in told.events if isinstance(event, BrokerLost)] == []


@pytest.mark.parametrize("whose", ["caller", "worker"])
async def test_a_caller_gets_its_result_although_connections_are_cut_meanwhile(
    amqp_url: str, proxy: TcpProxy, whose: str
) -> None:
    behind = through(proxy, amqp_url)
    started, go_on = asyncio.Event(), asyncio.Event()
    working = TaskQ[object]("working", url=behind if whose == "worker" else amqp_url)

    @working.task(name="slow")
    async def slow(number: int) -> int:
        started.set()
        await go_on.wait()
        return number + 1

    calling = TaskQ[object]("calling", url=behind if whose == "caller" else amqp_url)

    @calling.remote("slow", queue="default")
    def stub(number: int) -> int:
        raise NotImplementedError

    async with working, calling:
        worker = working.worker()
        running = asyncio.create_task(worker.run())
        result = asyncio.create_task(stub.with_options(reply_timeout=20).call(41))
        await started.wait()
        before = proxy.accepted
        proxy.cut()
        await until(lambda: proxy.accepted >= before + 2)
        go_on.set()
        assert await result == 42
        worker.stop("the test is over")
        await running


async def test_one_long_job_holds_up_none_of_its_neighbours(amqp_url: str) -> None:
    ended: list[float] = []

    def work(delivery: Delivery) -> None:
        async def run() -> None:
            await asyncio.sleep(3.0 if delivery.message.body == b"long" else 0.01)
            ended.append(time.monotonic())
            await delivery.settle()

        tasks.add(asyncio.create_task(run()))

    tasks: set[asyncio.Task[None]] = set()
    async with opened(amqp_url) as broker:
        for number in range(200):
            await broker.publish(to("work", b"long" if number == 3 else b"short"), timeout_s=5)
        began = time.monotonic()
        await broker.consume("work", prefetch=10, deliver=work)
        await until(lambda: len(ended) == 199)
        assert time.monotonic() - began < 2.5
        await until(lambda: len(ended) == 200)
        await asyncio.gather(*tasks)
