"""Queues as a program declares them."""

from typing import Any

import pytest

from taskq.broker.names import dead_queue, new_reply_queue, origin_of
from taskq.errors import DeclarationError
from taskq.tasks.queues import Queue
from taskq.tasks.router import Router


@pytest.mark.parametrize("name", ["a", "images", "shop.images", "straße", "with space", "ü" * 90, "dead"])
def test_name_that_every_broker_takes_is_accepted(name: str) -> None:
    queue = Queue(name)
    assert queue.dead == dead_queue(name) == f"{name}.dead"
    assert origin_of(queue.dead) == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "at least one"),
        ("a#b", "without '#'"),
        ("a*b", "without '#'"),
        ("a\n", "printable"),
        ("\ud800", "printable"),
        (3, "printable"),
        (None, "printable"),
        ("ü" * 91, "182 bytes, at most 180"),
        ("images.dead", "are taken"),
        ("taskq.reply.x", "are taken"),
        ("amq.gen", "are taken"),
    ],
)
def test_name_that_some_broker_refuses_is_refused(name: Any, text: str) -> None:
    with pytest.raises(DeclarationError, match=text):
        Queue(name)


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": None},
        {"concurrency": 1},
        {"concurrency": 65_535},
        {"delivery_limit": 1},
        {"delivery_limit": 10_000},
        {"type": "classic", "max_priority": 255},
        {"type": "classic"},
        {"declare": False},
    ],
    ids=str,
)
def test_settings_within_their_bounds_are_accepted(options: dict[str, Any]) -> None:
    assert Queue("q", **options).name == "q"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"concurrency": 0}, "concurrency must be a whole number from 1 to 65535, not 0"),
        ({"concurrency": 65_536}, "concurrency must be"),
        ({"concurrency": True}, "concurrency must be"),
        ({"concurrency": 1.5}, "concurrency must be"),
        ({"concurrency": "4"}, "concurrency must be"),
        ({"max_priority": -1, "type": "classic"}, "max_priority must be a whole number from 0 to 255"),
        ({"max_priority": 256, "type": "classic"}, "max_priority must be"),
        ({"max_priority": 5}, "priorities need type='classic'"),
        ({"delivery_limit": 0}, "delivery_limit must be a whole number from 1 to 10000"),
        ({"delivery_limit": 10_001}, "delivery_limit must be"),
        ({"type": "stream"}, "type must be 'quorum' or 'classic', not 'stream'"),
    ],
    ids=str,
)
def test_settings_out_of_bounds_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(DeclarationError, match=text):
        Queue("q", **options)


def test_default_task_is_given_as_a_task_or_by_name() -> None:
    @Router(prefix="math.").task
    async def fib(n: int) -> int:
        return n

    assert Queue("rpc").default_task is None
    assert Queue("rpc", default="math.fib").default_task == "math.fib"
    assert Queue("rpc", default=fib).default_task == "math.fib"


def test_default_that_is_no_task_is_refused() -> None:
    async def fib(n: int) -> int:
        return n

    for wrong in (fib, 5):
        with pytest.raises(DeclarationError, match="give a task or its full name"):
            Queue("rpc", default=wrong)  # type: ignore[arg-type]  # not every caller runs a type checker


def test_reply_queues_have_a_name_of_their_own() -> None:
    assert len({new_reply_queue() for _ in range(1000)}) == 1000
    with pytest.raises(DeclarationError, match="are taken"):
        Queue(new_reply_queue())
