"""Declare: repeatable, checked, all or nothing."""

import pytest

from taskq.errors import QueueMismatch, Unroutable
from taskq.tasks.queues import Queue
from tests.conformance.stand import Stand, publish, to


async def test_a_declared_queue_has_a_dead_letter_queue(stand: Stand) -> None:
    broker = await stand.open(None, "b", "a")
    assert [queue.name for queue in await broker.inspector.queues()] == ["a", "a.dead", "b", "b.dead"]


async def test_declaring_again_is_harmless(stand: Stand) -> None:
    broker = await stand.open(None, "work", "work")
    await publish(broker, to("work"))
    await broker.declare([Queue("work"), Queue("work")])
    await (await stand.open()).declare([Queue("work")])
    assert [queue.ready for queue in await broker.inspector.queues()] == [1, 0]


async def test_a_queue_with_other_arguments_is_a_mismatch_that_names_them(stand: Stand) -> None:
    stand.provokes("inequivalent arg")
    broker = await stand.open(None, Queue("work", type="classic", max_priority=3))
    with pytest.raises(QueueMismatch) as caught:
        await broker.declare([Queue("new"), Queue("work", type="classic", max_priority=5)])
    assert list(caught.value.differences.values()) == [(5, 3)]
    assert [queue.name for queue in await broker.inspector.queues()] == ["work", "work.dead"]


async def test_a_queue_of_somebody_else_is_used_and_never_declared(stand: Stand) -> None:
    broker = await stand.open()
    with pytest.raises(Unroutable, match="'work'"):
        await broker.declare([Queue("work", declare=False)])
    assert await broker.inspector.queues() == []
    await broker.declare([Queue("work", delivery_limit=3)])
    await broker.declare([Queue("work", declare=False)])
    await publish(broker, to("work"))
