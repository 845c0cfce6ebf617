"""The queues of a program on RabbitMQ, as data."""

import dataclasses

import pytest

from taskq.broker.amqp.topology import Binding, ExchangeSpec, QueueSpec, Topology, kept_queue, queue_specs, reply_queue
from taskq.tasks.queues import Queue


def test_quorum_queue_moves_dead_letters_at_least_once() -> None:
    dead, work = queue_specs(Queue("images", delivery_limit=7))
    assert work == QueueSpec(
        "images",
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": 7,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead.name,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


@pytest.mark.parametrize(("priorities", "said"), [(0, {}), (9, {"x-max-priority": 9})])
def test_classic_queue_has_nothing_that_classic_refuses(priorities: int, said: dict[str, int]) -> None:
    _, work = queue_specs(Queue("images", type="classic", max_priority=priorities, delivery_limit=7))
    assert work.arguments == {
        "x-queue-type": "classic",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "images.dead",
        **said,
    }
    assert (work.durable, work.exclusive, work.auto_delete) == (True, False, False)


@pytest.mark.parametrize("queue", [Queue("images"), Queue("images", type="classic"), Queue("images", declare=False)])
def test_dead_letter_queue_comes_first_and_is_a_quorum_queue_whatever_the_work_queue_is(queue: Queue) -> None:
    dead = queue_specs(queue)[0]
    assert (dead.name, dead.durable, dead.arguments["x-queue-type"]) == ("images.dead", True, "quorum")


def test_dead_letters_are_not_dropped_for_having_been_looked_at() -> None:
    dead, _ = queue_specs(Queue("images", delivery_limit=1))
    assert dead == kept_queue("images.dead")
    limit = dead.arguments["x-delivery-limit"]
    assert isinstance(limit, int)
    assert 1_000_000 < limit < 2**31  # RabbitMQ 3.10 takes -1 for a limit that is always reached


def test_only_the_dead_letter_queue_of_somebody_elses_queue_is_ours() -> None:
    assert [spec.name for spec in queue_specs(Queue("theirs", declare=False))] == ["theirs.dead"]


def test_arguments_follow_from_the_declaration_alone() -> None:
    assert queue_specs(Queue("a", concurrency=9, default="a.task")) == queue_specs(Queue("a"))


def test_reply_queue_outlives_its_connection_and_goes_when_nobody_comes_back() -> None:
    spec = reply_queue("taskq.reply.x")
    assert (spec.durable, spec.exclusive, spec.auto_delete) == (True, False, False)
    assert spec.arguments == {"x-queue-type": "classic", "x-expires": 600_000, "x-single-active-consumer": True}


def test_topologies_add_up_and_do_not_change() -> None:
    one = Topology(exchanges=(ExchangeSpec("e", "topic"),), bindings=(Binding("e", "q", "k"),))
    both = one + Topology(queues=(QueueSpec("q"),))
    assert both == Topology((ExchangeSpec("e", "topic"),), (QueueSpec("q"),), (Binding("e", "q", "k"),))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.queues = ()  # type: ignore[misc]
