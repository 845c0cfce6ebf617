"""Routers and the registry of an app: names, queues and defaults."""

from datetime import timedelta
from typing import Any

import pytest

from taskq import TaskQ
from taskq.errors import DeclarationError
from taskq.tasks.queues import Queue
from taskq.tasks.registry import DEFAULT_TIMEOUT_S, Registry
from taskq.tasks.retry import NO_RETRY, RetryPolicy
from taskq.tasks.router import Router


async def resize(url: str) -> None: ...
async def rotate(url: str) -> None: ...


TWICE = RetryPolicy(attempts=2)
THRICE = RetryPolicy(attempts=3)


def test_prefix_stands_before_a_given_name_and_a_function_s_name() -> None:
    router = Router(prefix="images.")
    assert router.task(resize).name == "images.resize"
    assert router.task(name="turn")(rotate).name == "images.turn"


def test_defaults_of_the_router_hold_where_the_task_says_nothing() -> None:
    router = Router(queue="images", timeout=timedelta(minutes=1), retry=TWICE)
    quiet = router.task(resize).definition
    loud = router.task(queue="other", timeout=3, retry=THRICE)(rotate).definition
    assert (quiet.queue, quiet.timeout_s, quiet.retry) == ("images", 60.0, TWICE)
    assert (loud.queue, loud.timeout_s, loud.retry) == ("other", 3.0, THRICE)


def test_tasks_are_listed_in_order_of_declaration() -> None:
    router = Router()
    first, second = router.task(rotate), router.task()(resize)
    assert router.tasks == (first, second)


def test_name_that_is_taken_is_refused_and_the_first_one_stays() -> None:
    router = Router()
    first = router.task(resize)
    with pytest.raises(DeclarationError, match="task 'resize' is declared twice in one router"):
        router.task(name="resize")(rotate)
    assert router.tasks == (first,)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"queue": ""}, "queue name ''"),
        ({"queue": "a#"}, "without '#'"),
        ({"queue": None}, "queue name None"),
        ({"prefix": 3}, "prefix 3 is no text"),
        ({"timeout": 0}, "timeout: 0 is out of range"),
    ],
    ids=str,
)
def test_router_that_cannot_be_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(DeclarationError, match=text):
        Router(**options)


def test_wrong_retry_of_a_router_or_an_app_is_refused() -> None:
    with pytest.raises(DeclarationError, match="router: retry=3; give a RetryPolicy"):
        Router(retry=3)  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="app 'shop': retry=3; give a RetryPolicy"):
        TaskQ("shop", retry=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("queue", ["", "a*", "x.dead", "amq.x", "taskq.x"])
def test_queue_of_a_task_is_checked_before_the_function_is_seen(queue: str) -> None:
    with pytest.raises(DeclarationError, match="queue name"):
        Router().task(queue=queue)


def test_prefix_counts_for_the_length_of_a_name() -> None:
    with pytest.raises(DeclarationError, match="at most 200"):
        Router(prefix="p" * 200).task(resize)


def test_queue_is_described_once() -> None:
    router = Router()
    images = router.add_queue(Queue("images", concurrency=4))
    with pytest.raises(DeclarationError, match="queue 'images' is described twice in one router"):
        router.add_queue(Queue("images"))
    assert router.queues == (images,)


# the registry of an app


def test_router_may_be_included_twice() -> None:
    router = Router()
    task = router.task(resize)
    router.add_queue(Queue("images"))
    registry = Registry()
    registry.include(router)
    registry.include(router)
    assert registry.tasks == {"resize": task}


def test_name_that_two_routers_declare_is_refused_and_names_both_modules() -> None:
    registry, other = Registry(), Router()
    router = Router()
    router.task(resize)
    registry.include(router)
    other.task(rotate)
    other.task(resize)
    with pytest.raises(DeclarationError, match=rf"declared twice: in {__name__} and {__name__}; give one of them"):
        registry.include(other)
    assert list(registry.tasks) == ["resize"], "nothing of a refused router is taken over"


def test_queue_that_two_routers_describe_is_refused() -> None:
    registry, one, two = Registry(), Router(), Router()
    one.add_queue(Queue("images"))
    two.add_queue(Queue("images", concurrency=2))
    two.task(resize)
    registry.include(one)
    with pytest.raises(DeclarationError, match="queue 'images' is described twice; describe it in one place"):
        registry.include(two)
    assert registry.tasks == {}
    assert registry.queue("images").concurrency is None


def test_workers_consume_queues_of_own_tasks_and_queues_with_a_default() -> None:
    router = Router(queue="images")
    router.task(resize)

    @router.remote("charge", queue="billing")
    def charge(order: int) -> None:
        raise NotImplementedError

    plain = router.add_queue(Queue("rpc", default="images.resize"))
    images = router.add_queue(Queue("images", concurrency=3))
    router.add_queue(Queue("idle"))
    registry = Registry()
    registry.include(router)
    assert registry.own_queues() == {"images": images, "rpc": plain}
    assert list(registry.own()) == ["resize"]
    assert list(registry.tasks) == ["resize", "charge"]
    assert registry.queue("unheard-of") == Queue("unheard-of")


def test_defaults_of_the_app_hold_where_a_task_says_nothing() -> None:
    router = Router()
    quiet = router.task(resize).definition
    loud = router.task(timeout=3, retry=THRICE)(rotate).definition
    assert (Registry().timeout_of(quiet), Registry().retry_of(quiet)) == (DEFAULT_TIMEOUT_S, NO_RETRY)
    registry = Registry(timeout_s=5, retry=TWICE)
    assert (registry.timeout_of(quiet), registry.retry_of(quiet)) == (5, TWICE)
    assert (registry.timeout_of(loud), registry.retry_of(loud)) == (3, THRICE)
