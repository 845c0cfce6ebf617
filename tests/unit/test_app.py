"""Opening and closing an app: what is bound, what is refused, and what a failure leaves behind (nothing)."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from taskq import (
    BrokerUnreachable,
    DeclarationError,
    Job,
    Queue,
    Router,
    TaskQ,
    Unroutable,
    UsageError,
)
from taskq.app.connection import Backend
from taskq.broker.protocol import Broker
from taskq.clock import SystemClock
from taskq.lifecycle import Emitter
from taskq.settings import Settings
from tests.support.inmemory import bare_environment, shop
from tests.support.waiting import until

__all__ = ["bare_environment"]  # a fixture that pytest finds here

# Opening and closing.


async def test_app_opens_closes_and_opens_again() -> None:
    app, double = shop()
    for _ in range(2):
        async with app:
            assert isinstance(await double.enqueue(1), Job)
        with pytest.raises(UsageError, match="is in no open app"):
            await double.enqueue(1)


async def test_second_opening_is_refused_and_a_second_close_harmless() -> None:
    app, double = shop()
    async with app:
        with pytest.raises(UsageError, match="'shop' is open already"):
            await app.__aenter__()
        await double.enqueue(1)
    await app.__aexit__(None, None, None)


async def test_local_call_needs_no_app() -> None:
    _, double = shop()
    assert await double(4) == 8


@pytest.mark.parametrize("use", ["worker", "dead_letters", "connection"])
async def test_what_needs_an_open_app_says_so(use: str) -> None:
    app, _ = shop()
    with pytest.raises(UsageError, match="use it inside `async with app:`"):
        app.worker() if use == "worker" else getattr(app, use)


@pytest.mark.parametrize("url", ["postgres://db", "redis://localhost", "taskq.db", ""])
async def test_url_of_an_unknown_kind_is_a_usage_error_that_names_what_there_is(url: str) -> None:
    app: TaskQ[Any] = TaskQ("shop", url=url)
    with pytest.raises(UsageError, match="use sqlite:///"):
        await app.__aenter__()


async def test_bad_setting_is_an_error_when_the_app_opens_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    app, _ = shop()
    monkeypatch.setenv("TASKQ_CONCURRENCY", "lots")
    with pytest.raises(UsageError, match="TASKQ_CONCURRENCY"):
        await app.__aenter__()


class Half(Backend):
    """A backend whose broker opens, and fails at ``fails``."""

    def __init__(self, fails: str) -> None:
        object.__setattr__(self, "fails", fails)
        object.__setattr__(self, "clock", SystemClock())

    def connect(self, settings: Settings, app: str, emitter: Emitter) -> Broker:
        broker: Any = super().connect(settings, app, emitter)

        async def fails(*_: object, **__: object) -> None:
            raise BrokerUnreachable("gone")

        if getattr(self, "fails") == "declare":  # noqa: B009
            broker.declare = fails
            return broker  # type: ignore[no-any-return]
        raise BrokerUnreachable("gone")


@pytest.mark.parametrize("fails", ["connect", "declare"])
async def test_opening_that_fails_half_way_leaves_nothing_bound(fails: str) -> None:
    app, double = shop()
    app.use_backend(Half(fails))
    with pytest.raises(BrokerUnreachable):
        await app.__aenter__()
    assert (double.route.sender, double.route.owner) == (None, None)
    app.use_backend(Backend())
    async with app:
        await double.enqueue(1)


async def test_folder_that_does_not_exist_leaves_nothing_bound(tmp_path: Path) -> None:
    app: TaskQ[Any] = TaskQ("shop", url=f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}")

    @app.task
    async def work() -> None: ...

    with pytest.raises(BrokerUnreachable):
        await app.__aenter__()
    assert work.route.owner is None


async def test_waits_for_results_end_when_the_app_closes() -> None:
    app, double = shop()
    async with app:
        job = await double.submit(1)
        waiting = asyncio.create_task(job.result())
        calling = asyncio.create_task(double.call(2))
        await until(lambda: len(app.connection.replies) == 2)
    for wait in (waiting, calling):
        with pytest.raises(UsageError, match="closed before the result came"):
            await wait


# Routers.


async def test_router_in_two_open_apps_is_refused_and_free_again_afterwards() -> None:
    router = Router()

    @router.task
    async def work() -> None: ...

    one, other = TaskQ[Any]("one"), TaskQ[Any]("other")
    one.include(router)
    other.include(router)
    async with one:
        with pytest.raises(UsageError, match=r"'work' is in another open app already .'one'"):
            await other.__aenter__()
        await work.enqueue()
    async with other:
        await work.enqueue()


def test_including_twice_is_including_once() -> None:
    router = Router()
    app: TaskQ[Any] = TaskQ("shop")

    @router.task
    async def work() -> None: ...

    app.include(router, router)
    app.include(router)
    assert [task.name for task in app.tasks] == ["work"]


def test_duplicate_name_across_routers_is_refused_and_leaves_the_app_as_it_was() -> None:
    one, other, third = Router(), Router(), Router()
    for router in (one, other):

        @router.task(name="work")
        async def work() -> None: ...

    @third.task
    async def else_() -> None: ...

    app: TaskQ[Any] = TaskQ("shop")
    app.include(one)
    with pytest.raises(DeclarationError, match="'work' is declared twice"):
        app.include(third, other)
    assert [task.name for task in app.tasks] == ["work"]
    app.include(third)
    assert [task.name for task in app.tasks] == ["work", "else_"]


async def test_open_app_takes_no_further_router() -> None:
    app, _ = shop()
    async with app:
        with pytest.raises(UsageError, match="include routers before it is opened"):
            app.include(Router())


async def test_task_of_a_router_that_no_app_includes_says_what_to_do() -> None:
    router = Router()

    @router.task
    async def work() -> None: ...

    app, _ = shop()
    async with app:
        with pytest.raises(UsageError, match=r"app\.include\(router\)"):
            await work.enqueue()


async def test_stub_never_declares_its_queue() -> None:
    app, _ = shop()

    @app.remote("billing.charge", queue="billing")
    def charge(amount: int) -> int:
        raise NotImplementedError

    async with app:
        assert [state.name for state in await app.queues()] == ["default", "default.dead"]
        with pytest.raises(Unroutable, match="'billing' does not exist"):
            await charge.enqueue(1)
        await app.connection.broker.declare([Queue("billing")])
        await charge.enqueue(1)
        assert app.worker()._pipeline.slots == {"default": 1}  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("name", ["", "a\nb"])
def test_name_of_an_app_is_one_printable_line(name: str) -> None:
    with pytest.raises(DeclarationError, match="printable"):
        TaskQ(name)


@pytest.mark.parametrize("known", ["nothing", "a stub"])
async def test_default_of_a_queue_that_no_task_runs_is_refused_when_the_app_opens(known: str) -> None:
    app, double = shop()
    app.add_queue(Queue("rpc", default="fib"))
    if known == "a stub":

        @app.remote("fib", queue="other")
        def fib(n: int) -> int:
            raise NotImplementedError

    with pytest.raises(DeclarationError, match=r"queue 'rpc': its default 'fib' is no task .*\(there are: double\)"):
        await app.__aenter__()
    assert double.route.owner is None


async def test_default_of_a_queue_may_be_declared_after_it_and_elsewhere() -> None:
    app, _ = shop()
    app.add_queue(Queue("rpc", default="fib"))
    router = Router()

    @router.task
    async def fib(n: int) -> int:
        return n

    app.include(router)
    async with app:
        assert "rpc" in {state.name for state in await app.queues()}


@pytest.mark.parametrize("kind", [ValueError, print, "JobDead"])
def test_a_listener_to_what_is_no_lifecycle_event_is_refused(kind: Any) -> None:
    with pytest.raises(DeclarationError, match="name the event to listen to, as in"):
        TaskQ("shop").on(kind)
