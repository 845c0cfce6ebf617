"""The queues of a program on RabbitMQ, as data."""

import dataclasses

import pytest

from taskq.broker.amqp.topology import (
    Argument,
    BindingSpec,
    ExchangeSpec,
    QueueSpec,
    Topology,
    binding_spec,
    exchange_spec,
    kept_queue,
    queue_specs,
    reply_queue,
    temporary_queue,
)
from taskq.tasks.exchanges import Binding, ExchangeDefinition, TemporaryQueue
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


@pytest.mark.parametrize("arguments", [{}, {"x-max-length": 5, "x-queue-type": "classic"}])
def test_a_queue_with_arguments_has_these_and_no_others(arguments: dict[str, Argument]) -> None:
    dead, work = queue_specs(Queue("theirs", type="classic", durable=False, arguments=arguments))
    assert work == QueueSpec("theirs", durable=False, arguments=arguments)
    assert dead == kept_queue("theirs.dead")


def test_a_queue_that_goes_with_the_broker_keeps_its_way_for_dead_letters() -> None:
    _, work = queue_specs(Queue("images", type="classic", durable=False))
    assert work == dataclasses.replace(queue_specs(Queue("images", type="classic"))[1], durable=False)


def test_an_exchange_and_its_bindings_are_as_the_program_says() -> None:
    made = ExchangeDefinition(name="e", kind="topic", durable=False, arguments={"alternate-exchange": "x"})
    assert exchange_spec(made) == ExchangeSpec("e", "topic", {"alternate-exchange": "x"}, durable=False)
    assert binding_spec(Binding(exchange="e", queue="q", key="a.#")) == BindingSpec("e", "q", "a.#")
    by_values = Binding(exchange="e", queue="q", headers={"a": 1, "b": "x"}, match="any")
    assert binding_spec(by_values) == BindingSpec("e", "q", arguments={"a": 1, "b": "x", "x-match": "any"})


def test_a_temporary_queue_belongs_to_its_connection_and_is_bounded() -> None:
    spec = temporary_queue(TemporaryQueue(name="t", label="x", bindings=(), limit=7, overflow="reject-publish"))
    assert (spec.durable, spec.exclusive, spec.auto_delete) == (False, True, False)
    assert spec.arguments == {"x-queue-type": "classic", "x-max-length": 7, "x-overflow": "reject-publish"}


def test_only_the_dead_letter_queue_of_somebody_elses_queue_is_ours() -> None:
    assert [spec.name for spec in queue_specs(Queue("theirs", declare=False))] == ["theirs.dead"]


def test_arguments_follow_from_the_declaration_alone() -> None:
    assert queue_specs(Queue("a", concurrency=9, default="a.task")) == queue_specs(Queue("a"))


def test_reply_queue_outlives_its_connection_and_goes_when_nobody_comes_back() -> None:
    spec = reply_queue("taskq.reply.x")
    assert (spec.durable, spec.exclusive, spec.auto_delete) == (True, False, False)
    assert spec.arguments == {"x-queue-type": "classic", "x-expires": 600_000, "x-single-active-consumer": True}


def test_topologies_add_up_and_do_not_change() -> None:
    one = Topology(exchanges=(ExchangeSpec("e", "topic"),), bindings=(BindingSpec("e", "q", "k"),))
    both = one + Topology(queues=(QueueSpec("q"),))
    assert both == Topology((ExchangeSpec("e", "topic"),), (QueueSpec("q"),), (BindingSpec("e", "q", "k"),))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.queues = ()  # type: ignore[misc]
