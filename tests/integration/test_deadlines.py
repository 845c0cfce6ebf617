"""A broker that is away, stands still, or has nothing left to give: every wait ends, and says why."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from taskq import BrokerBlocked, BrokerError, BrokerUnreachable, PublishUnconfirmed, TaskQ
from taskq.broker.amqp.broker import AmqpBroker
from taskq.broker.amqp.patience import Patience
from taskq.tasks.queues import Queue
from tests.conformance.stand import to
from tests.support.rabbit import RabbitNode
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.broker_problems("not_found")  # how RabbitMQ is asked whether a queue exists

SHORT_S = 1.0
DEAD = 5

LOOKS: dict[str, Callable[[TaskQ[object]], Coroutine[Any, Any, object]]] = {
    "queues": lambda app: app.queues(),
    "dead list": lambda app: app.dead_letters.list("default"),
    "dead retry": lambda app: app.dead_letters.retry("default"),
    "dead drop": lambda app: app.dead_letters.drop("default"),
    "list_queues": lambda app: app.connection.broker.inspector.list_queues(),
    "list_exchanges": lambda app: app.connection.broker.inspector.list_exchanges(["amq.topic"]),
}


def broker_of(app: TaskQ[object]) -> AmqpBroker:
    broker = app.connection.broker
    assert isinstance(broker, AmqpBroker)
    return broker


@asynccontextmanager
async def opened(node: RabbitNode) -> AsyncIterator[tuple[TaskQ[object], Any]]:
    """An open app with some dead letters, whose operations have a second each."""
    app = TaskQ[object]("shop", url=node.url(), publish_timeout=SHORT_S)

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    async with app:
        broker = broker_of(app)
        for number in range(DEAD):
            await broker.publish(to("default.dead", b"%d" % number), timeout_s=5)
        broker.patience = Patience(broker, SHORT_S)
        yield app, double


async def ended(work: Coroutine[Any, Any, object]) -> tuple[object, float]:
    """How it ended, and after how many seconds."""
    began = time.monotonic()
    (outcome,) = await asyncio.gather(asyncio.wait_for(work, 20), return_exceptions=True)
    return outcome, time.monotonic() - began


@pytest.mark.parametrize("how", ["paused", "away"])
async def test_looks_and_calls_end_in_their_time_while_the_broker_does_not_answer(
    own_node: RabbitNode, how: str
) -> None:
    async with opened(own_node) as (app, double):
        await asyncio.to_thread(own_node.pause if how == "paused" else own_node.kill)
        calls = [double.with_options(reply_timeout=SHORT_S).call(number) for number in range(3)]
        outcomes = await asyncio.gather(*(ended(look(app)) for look in LOOKS.values()), *map(ended, calls))
        for name, (outcome, took_s) in zip([*LOOKS, *(["call"] * 3)], outcomes, strict=True):
            assert isinstance(outcome, BrokerUnreachable), (name, outcome)
            assert took_s < 4 * SHORT_S, name  # the management API is asked before, where it is
        says = "has not answered for 1 s" if how == "paused" else "connection refused|was lost"
        outcome, _ = outcomes[0]
        assert any(words in str(outcome) for words in says.split("|"))
        await asyncio.to_thread(own_node.resume if how == "paused" else own_node.start)
        broker_of(app).patience = Patience(broker_of(app))
        assert len(await app.queues()) == 2


async def test_a_retry_of_dead_letters_ends_under_an_alarm_and_loses_none(own_node: RabbitNode) -> None:
    async with opened(own_node) as (app, _):
        await asyncio.to_thread(own_node.alarm_disk, True)
        for _ in range(2):  # at first RabbitMQ takes what it is sent, and confirms nothing
            outcome, took_s = await ended(app.dead_letters.retry("default"))
            assert isinstance(outcome, BrokerBlocked | PublishUnconfirmed), outcome
            assert "low on disk" in str(outcome)
            assert took_s < 4 * SHORT_S

        async def back() -> bool:
            return len(await app.dead_letters.list("default")) == DEAD

        await eventually(back, "all are in their place")
        await asyncio.to_thread(own_node.alarm_disk, False)
        await until(lambda: broker_of(app).lifelines[-1].blocked is None)
        assert await app.dead_letters.retry("default") == DEAD
        assert await app.dead_letters.list("default") == []


async def test_few_channels_are_enough_to_look_and_a_worker_that_needs_more_says_so(own_node: RabbitNode) -> None:
    await asyncio.to_thread(own_node.eval, "application:set_env(rabbit, channel_max, 6)")
    app = TaskQ[object]("shop", url=own_node.url())
    for number in range(8):

        @app.task(name=f"t{number}", queue=f"q{number}")
        async def work() -> None: ...

    try:
        async with app:
            assert len(await app.queues(["missing", "missing too"])) == 16
            assert len((await app.connection.broker.inspector.list_queues(["missing"])).items) == 16
            with pytest.raises(BrokerError, match="all 6 channels of the connection are in use") as caught:
                await asyncio.wait_for(app.worker().run(), 10)
            assert not isinstance(caught.value, BrokerUnreachable)
            assert len(await app.queues()) == 16
    finally:
        await asyncio.to_thread(own_node.eval, "application:set_env(rabbit, channel_max, 2047)")


@pytest.mark.alone
async def test_many_queues_are_declared_although_that_takes_longer_than_the_deadline(own_node: RabbitNode) -> None:
    async with opened(own_node) as (app, _):
        broker = broker_of(app)
        began = time.monotonic()
        broker.patience = Patience(broker, 2 * SHORT_S)
        await broker.declare([Queue(f"q{number}") for number in range(400)])
        took_s = time.monotonic() - began
        assert took_s > 2 * SHORT_S, "or this shows nothing"
        assert len(await app.queues()) == 802
