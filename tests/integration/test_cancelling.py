"""Waits that are cancelled at any moment, and programs that are stopped at any moment: nothing is left of them."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pamqp import commands

from taskq import TaskQ
from taskq.broker.amqp.broker import AmqpBroker
from taskq.broker.amqp.declaring import Declarer
from taskq.broker.amqp.link import Link
from taskq.broker.amqp.plane.commands import consume
from taskq.clock import SystemClock
from taskq.lifecycle import ConsumerInterrupted, Event
from taskq.tasks.queues import Queue
from tests.conformance.stand import to
from tests.integration.test_connections import proxy, through
from tests.support.rabbit import RabbitNode, SharedRabbit
from tests.support.rabbit.fixtures import administered
from tests.support.tcpproxy import TcpProxy
from tests.support.waiting import eventually, until

__all__ = ["proxy"]

pytestmark = pytest.mark.broker_problems("not_found")  # how RabbitMQ is asked whether a queue exists

CANCELS = 300
STOPS = 20
SOON_S = 5.0

OPERATIONS: dict[str, Callable[[AmqpBroker], Awaitable[object]]] = {
    "declare": lambda broker: broker.declare([Queue("work"), Queue("missing.before")]),
    "counts": lambda broker: broker.declarer.counts("work"),
    "counts of a missing one": lambda broker: broker.declarer.counts("missing"),
    "queues": lambda broker: broker.inspector.queues(["missing", "work"]),
    "browse": lambda broker: broker.inspector.browse("work.dead", limit=3),
    "rework": lambda broker: broker.inspector.rework("work.dead", lambda message: None),
}


def work_app(url: str, **settings: Any) -> tuple[TaskQ[object], Any]:
    app = TaskQ[object]("work", url=url, **settings)

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    return app, double


@pytest.mark.parametrize("what", OPERATIONS)
async def test_cancelling_it_at_any_moment_leaves_all_as_it_was(amqp_url: str, what: str) -> None:
    rng = random.Random(what)
    async with AmqpBroker(amqp_url, clock=SystemClock()) as broker:
        await broker.declare([Queue("work")])
        await asyncio.gather(*(broker.publish(to("work.dead", b"%d" % number), timeout_s=5) for number in range(5)))
        began = time.perf_counter()
        await OPERATIONS[what](broker)
        takes_s, before, ended = time.perf_counter() - began, asyncio.all_tasks(), 0
        links = [await lifeline.link() for lifeline in broker.lifelines]
        for _ in range(CANCELS):
            task = asyncio.ensure_future(OPERATIONS[what](broker))
            asyncio.get_running_loop().call_later(rng.uniform(0, takes_s), task.cancel)
            done, _ = await asyncio.wait({task}, timeout=SOON_S)
            assert done, "it was swallowed"
            ended += not task.cancelled()
        await until(lambda: sum(link.channels for link in links) == 1)  # the publisher's
        assert ended < CANCELS
        assert links == [lifeline.current for lifeline in broker.lifelines]
        assert {task for task in asyncio.all_tasks() if not task.done()} <= before

        async def back() -> bool:
            return len(await broker.inspector.browse("work.dead", limit=9)) == 5

        await eventually(back, "all messages are in their place")


async def test_a_connection_whose_opening_is_cancelled_leaves_no_task(amqp_url: str) -> None:
    rng, before = random.Random(7), asyncio.all_tasks()
    for _ in range(60):
        opening = asyncio.create_task(
            Link.open(amqp_url, label="test", name="test", heartbeat_s=15, timeout_s=10), name="opening"
        )
        asyncio.get_running_loop().call_later(rng.uniform(0, 0.02), opening.cancel)
        done, _ = await asyncio.wait({opening}, timeout=SOON_S)
        assert done, "it was swallowed"
        if not opening.cancelled():
            await opening.result().close()
    await until(lambda: asyncio.all_tasks() <= before)


@pytest.mark.parametrize("type_", ["quorum", "classic"])
async def test_a_consumer_that_is_cancelled_before_it_is_answered_crashes_no_channel(amqp_url: str, type_: Any) -> None:
    link = await Link.open(amqp_url, label="test", name="test", heartbeat_s=15, timeout_s=10)
    await Declarer(link.hot_channel).declare([Queue("work", type=type_)])
    for _ in range(100):
        channel = await link.hot_channel()
        channel.ask(consume("work", "tag"))
        await channel.call(commands.Basic.Cancel(consumer_tag="tag"))
        channel.leave()
    assert link.alive
    await link.close()


@pytest.mark.alone
async def test_a_worker_that_is_stopped_while_it_connects_again_ends_at_once(amqp_url: str, proxy: TcpProxy) -> None:
    rng = random.Random(3)
    app = TaskQ[object]("work", url=through(proxy, amqp_url))
    for number in range(8):  # many consumers come back at the same time, each by its own declarations

        @app.task(name=f"t{number}", queue=f"q{number}")
        async def work() -> None: ...

    for _ in range(STOPS):
        async with app:
            worker = app.worker(grace=0)
            running = asyncio.create_task(worker.run())
            await worker.started.wait()
            before = proxy.accepted
            proxy.cut()
            await until(lambda before=before: proxy.accepted == before + 2)
            await asyncio.sleep(rng.uniform(0, 0.05))
            began = time.monotonic()
            worker.stop("the test is over")
            done, _ = await asyncio.wait({running}, timeout=SOON_S)
            assert done, "it lives on"
        assert time.monotonic() - began < SOON_S


@administered
async def test_closing_the_app_while_its_first_call_is_under_way_leaves_nothing(
    amqp_url: str, shared_rabbit: SharedRabbit
) -> None:
    rng = random.Random(5)
    app, double = work_app(amqp_url)
    told: list[Event] = []
    app.on(ConsumerInterrupted)(told.append)
    async with app:
        pass
    before = asyncio.all_tasks()
    for _ in range(30):
        async with app:
            calling = asyncio.ensure_future(double.call(1))
            await asyncio.sleep(rng.uniform(0, 0.03))
            began = time.monotonic()
        done, _ = await asyncio.wait({calling}, timeout=SOON_S)
        assert done, "it waits for ever"
        assert type(calling.exception()).__name__ in ("UsageError", "BrokerUnreachable")
        assert time.monotonic() - began < SOON_S
    await until(lambda: asyncio.all_tasks() <= before)
    assert told == []
    assert shared_rabbit.node is not None
    vhost = amqp_url.rpartition("/")[2]
    queues = await asyncio.to_thread(shared_rabbit.node.ctl, "list_queues", "-p", vhost, "name")
    assert "taskq.reply" not in queues


async def test_a_close_that_is_cancelled_lets_go_of_everything(own_node: RabbitNode) -> None:
    app, double = work_app(own_node.url())
    before = asyncio.all_tasks()
    await app.__aenter__()
    worker = app.worker()
    running = asyncio.create_task(worker.run())
    await worker.started.wait()
    assert await double.call(1) == 2
    await asyncio.to_thread(own_node.pause)
    worker.stop("the test is over")
    running.cancel()
    await asyncio.wait({running})
    closing = asyncio.create_task(app.__aexit__(None, None, None))
    await asyncio.wait({closing}, timeout=0.2)
    assert not closing.done()
    closing.cancel()
    began = time.monotonic()
    await asyncio.wait({closing})
    assert closing.cancelled()
    assert time.monotonic() - began < SOON_S
    await until(lambda: asyncio.all_tasks() <= before)
    await asyncio.to_thread(own_node.resume)
    async with app:
        assert [state.name for state in await app.queues()] == ["default", "default.dead"]
