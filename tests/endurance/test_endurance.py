"""Short runs of what `python -m tests.endurance` runs long: nothing grows, nothing is lost."""

import asyncio
import contextlib
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from tests.endurance import reconnects, soak, timeouts
from tests.endurance.brokers import COUNTED, in_rabbitmq, on_file, on_rabbitmq
from tests.endurance.outcome import Outcome
from tests.endurance.watch import Watch
from tests.support.rabbit import RabbitNode
from tests.support.rabbit.fixtures import own_node

__all__ = ["own_node"]

pytestmark = pytest.mark.alone  # what is counted in this process is also what other tests left, and goes while it runs

CUTS = 12
ENDS = 600
SEED = 265  # six kinds of faults, all of them short
SAMPLES = 6


def check(outcome: Outcome) -> None:
    assert outcome.good, str(outcome)


async def test_after_twelve_reconnects_there_is_no_more_of_anything_than_before(own_node: RabbitNode) -> None:
    async with on_rabbitmq(own_node) as ground:
        with contextlib.closing(Watch(ground.census)) as watch:
            check(await reconnects.run(ground, watch, cuts=CUTS, samples=SAMPLES, seed=1))


async def test_six_hundred_timeouts_and_cancellations_leave_nothing_on_rabbitmq(own_node: RabbitNode) -> None:
    async with on_rabbitmq(own_node) as ground:
        with contextlib.closing(Watch(ground.census)) as watch:
            check(await timeouts.run(ground, watch, count=ENDS, samples=SAMPLES, seed=1))


async def test_six_hundred_timeouts_and_cancellations_leave_nothing_in_a_file(tmp_path: Path) -> None:
    ground = on_file(tmp_path)
    with contextlib.closing(Watch(ground.census)) as watch:
        check(await timeouts.run(ground, watch, count=ENDS, samples=SAMPLES, seed=1))


async def test_all_kinds_of_load_and_some_faults_leave_nothing_on_rabbitmq(own_node: RabbitNode) -> None:
    async with on_rabbitmq(own_node) as ground:
        with contextlib.closing(Watch(ground.census)) as watch:
            check(await soak.run(ground, watch, seconds=0, samples=SAMPLES, seed=SEED, fault_each_s=0.3))


async def test_whatever_a_program_leaves_behind_on_rabbitmq_is_found(own_node: RabbitNode) -> None:
    with contextlib.closing(Watch(lambda: in_rabbitmq(own_node))) as watch:
        async with contextlib.AsyncExitStack() as kept:
            for number in range(SAMPLES):
                watch.sample()
                connection = await kept.enter_async_context(await aio_pika.connect(own_node.url()))
                await leave(await connection.channel(), str(number))
            assert watch.found() >= {f"broker's {name}" for name in COUNTED}


async def leave(channel: AbstractChannel, name: str) -> None:
    """Leave an exchange, two queues with their bindings, a message, and one that is held unacknowledged."""
    exchange = await channel.declare_exchange(name)
    for queue in [await channel.declare_queue(f"{kind} {name}") for kind in ("full", "held")]:
        await queue.bind(exchange)
        await channel.default_exchange.publish(aio_pika.Message(b""), queue.name)
    held = asyncio.Event()

    async def hold(message: object) -> None:
        held.set()

    await queue.consume(hold)
    await held.wait()
