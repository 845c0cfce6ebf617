"""Consumers from which RabbitMQ takes something: their connection, their queue, a right, or the room for a result."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import pytest

from taskq import Fixed, Queue, RetryPolicy, TaskFailed, TaskQ
from taskq.lifecycle import ConsumerInterrupted, ConsumerResumed, DeliveryLost, Event, JobDead, ThreadOverran
from tests.conformance.stand import Catch, to
from tests.integration.test_connections import Told, opened
from tests.integration.test_errors import elsewhere, set_largest_message
from tests.support.rabbit import RabbitNode
from tests.support.tcpproxy import TcpProxy
from tests.support.waiting import until

pytestmark = pytest.mark.broker_problems("not_found")


def told_by(app: TaskQ[object]) -> list[Event]:
    told: list[Event] = []
    app.on(Event)(told.append)
    return told


def count(told: list[Event], kind: type[Event]) -> int:
    return sum(isinstance(event, kind) for event in told)


def reasons(told: list[Event]) -> list[str]:
    return [event.reason for event in told if isinstance(event, ConsumerInterrupted)]


@asynccontextmanager
async def working(app: TaskQ[object], concurrency: int = 1) -> AsyncIterator[None]:
    """The app, open, with a worker on it."""
    async with app:
        worker = app.worker(concurrency=concurrency)
        running = asyncio.create_task(worker.run())
        await worker.started.wait()
        try:
            yield
        finally:
            worker.stop("the test is over")
            await running


@pytest.fixture
async def proxy(amqp_url: str) -> AsyncIterator[TcpProxy]:
    parts = urlsplit(amqp_url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with TcpProxy(parts.hostname, parts.port) as proxy:
        yield proxy


def app_behind(proxy: TcpProxy, url: str) -> TaskQ[object]:
    return TaskQ[object]("shop", url=elsewhere(url, user="guest:guest", host=f"127.0.0.1:{proxy.port}"))


async def cut(proxy: TcpProxy, told: list[Event]) -> None:
    """Cut the connections, and wait until the worker is back."""
    before = count(told, ConsumerResumed)
    proxy.cut()
    await until(lambda: count(told, ConsumerResumed) > before)


# A connection.


async def test_a_worker_runs_no_more_than_its_concurrency_over_lost_connections(amqp_url: str, proxy: TcpProxy) -> None:
    app = app_behind(proxy, amqp_url)
    told = told_by(app)
    go_on, live, peak, ended = asyncio.Event(), 0, 0, list[int]()

    @app.task
    async def long(number: int) -> None:
        nonlocal live, peak
        live += 1
        peak = max(peak, live)
        await go_on.wait()
        live -= 1
        ended.append(number)

    async with working(app, 2):
        for number in range(2):
            await long.enqueue(number)
        await until(lambda: live == 2)
        for _ in range(3):
            await cut(proxy, told)
        (queue,) = [each for each in await app.queues() if each.name == "default"]
        assert (queue.ready, queue.consumers) == (2, 0), "nothing is consumed while all slots are taken"
        go_on.set()
        await until(lambda: len(ended) == 4)
    assert (peak, sorted(ended)) == (2, [0, 0, 1, 1])
    assert count(told, DeliveryLost) == 2


@pytest.mark.parametrize("when", ["before its time limit", "after its time limit"])
async def test_a_thread_that_overruns_keeps_its_slot_over_a_lost_connection(
    amqp_url: str, proxy: TcpProxy, when: str
) -> None:
    app = app_behind(proxy, amqp_url)
    told = told_by(app)
    release, begun = threading.Event(), list[int]()

    @app.task(timeout=1.0)
    def stuck(number: int) -> None:
        begun.append(number)
        release.wait(20)

    try:
        async with working(app):
            for number in range(2):
                await stuck.enqueue(number)
            await until(lambda: begun == [0])
            if when.startswith("before"):
                await cut(proxy, told)
                await until(lambda: count(told, DeliveryLost) == 1)
            else:
                await until(lambda: count(told, JobDead) == 1)
                await cut(proxy, told)
            assert (begun, count(told, ThreadOverran)) == ([0], 1)
            (queue,) = [each for each in await app.queues() if each.name == "default"]
            assert queue.consumers == 0, "nothing is consumed while the only slot is kept"
            release.set()
            await until(lambda: 1 in begun)
    finally:
        release.set()


# A queue, a right.


@pytest.mark.broker_problems
async def test_a_queue_that_was_made_again_with_other_arguments_is_told(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.broker.amqp.consumer._DELETION_S", 1.0)  # time to make it before the consumer does
    told, catch = Told(), Catch()
    async with opened(amqp_url, told) as broker, opened(amqp_url) as other:
        await broker.consume("work", prefetch=1, deliver=catch)
        await other.declarer.delete("work")
        await other.declarer.declare([Queue("work", type="classic")])
        await until(lambda: len(reasons(told.events)) == 2)
        assert "queue 'work' exists with other arguments" in reasons(told.events)[1]
        assert "x-queue-type: declared 'quorum', the broker has 'classic'" in reasons(told.events)[1]
        await other.declarer.delete("work")
        await until(lambda: count(told.events, ConsumerResumed) == 1)
        await other.publish(to("work", b"after"), timeout_s=5)
        assert await catch.settled() == b"after"
        assert len(reasons(told.events)) == 2, "it is told once"


async def test_a_right_that_was_taken_away_is_told_and_the_consumer_comes_back_with_it(own_node: RabbitNode) -> None:
    own_node.add_user("ada", "secret")
    own_node.allow("ada", "/")
    told, catch = Told(), Catch()
    async with opened(elsewhere(own_node.url(), user="ada:secret"), told) as broker:
        await broker.consume("work", prefetch=1, deliver=catch)
        own_node.allow("ada", "/", "^nothing$")
        await asyncio.to_thread(own_node.close_connections)
        await until(lambda: len(reasons(told.events)) == 2)
        assert "the user 'ada' lacks the 'read' permission for queue 'work'" in reasons(told.events)[1]
        assert "secret" not in reasons(told.events)[1]
        own_node.allow("ada", "/")
        await broker.publish(to("work", b"after"), timeout_s=10)
        assert await catch.settled() == b"after"
        assert len(reasons(told.events)) == 2, "it is told once"


# Room for a result.


@contextmanager
def largest(node: RabbitNode, size: int) -> Iterator[None]:
    before = set_largest_message(node, str(size))
    try:
        yield
    finally:
        set_largest_message(node, before)


async def test_a_result_above_the_brokers_limit_is_a_dead_letter_and_frees_its_slot(own_node: RabbitNode) -> None:
    app = TaskQ[object]("shop", url=own_node.url())

    @app.task
    async def long(size: int) -> str:
        return "x" * size

    with largest(own_node, 3_000):
        async with working(app):
            with pytest.raises(TaskFailed, match="5,002 bytes, above the limit of 3,000") as caught:
                await long.with_options(reply_timeout=20).call(5_000)
            assert caught.value.reason == "invalid-result"
            assert await long.with_options(reply_timeout=20).call(1) == "x"
            (letter,) = await app.dead_letters.list("default")
            assert (letter.reason, letter.failure.type) == ("invalid-result", "taskq.MessageTooLarge")


async def test_a_retry_and_a_dead_letter_above_the_limit_are_cut_to_what_fits(own_node: RabbitNode) -> None:
    app = TaskQ[object]("shop", url=own_node.url())
    told = told_by(app)

    @app.task(retry=RetryPolicy(attempts=3, backoff=Fixed(0)))
    async def fail(text: str) -> None:
        raise ValueError("never")

    async with app:
        await fail.enqueue("x" * 5_000)
    with largest(own_node, 3_000):
        async with working(app):
            await until(lambda: count(told, JobDead) == 1)
            (letter,) = await app.dead_letters.list("default")
            assert len(letter.message.body) == 3_000
            assert letter.reason == "invalid-result"
            assert "ValueError: never" in letter.failure.message
            assert [each.ready for each in await app.queues()] == [0, 1]
