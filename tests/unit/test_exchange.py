"""Exchanges and subscriptions as they are declared: what cannot be is refused at once, with what to change."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from taskq import Event, Router, TaskQ, UsageError
from taskq.errors import DeclarationError, InvalidArguments, UndecodableMessage
from taskq.tasks.exchanges import Binding
from taskq.tasks.payload import Payload
from taskq.tasks.queues import Queue
from taskq.tasks.registry import Registry
from taskq.tasks.retry import RetryPolicy


class Line(BaseModel):
    host: str
    level: int = 0


async def on_line(line: Line) -> None: ...
async def on_line_and_event(line: Line, event: Event[Line]) -> None: ...
def in_a_thread(line: Line) -> None: ...


def registered(*routers: Router[object]) -> Registry:
    registry = Registry()
    for router in routers:
        registry.include(router)
    registry.check()
    return registry


def test_several_keys_are_several_bindings_of_one_subscription() -> None:
    router = Router(prefix="ops.")
    logs = router.exchange("logs", kind="topic", payload=Line)
    assert logs.subscribe("kern.*", "*.critical", "kern.*", queue="archive")(on_line) is on_line
    (subscription,) = router.subscriptions
    assert (subscription.name, subscription.run, subscription.takes_event) == ("ops.on_line", "async", False)
    assert subscription.bindings == (
        Binding(exchange="logs", queue="archive", key="kern.*"),
        Binding(exchange="logs", queue="archive", key="*.critical"),
    )


def test_the_event_is_given_to_who_takes_it_and_a_def_runs_in_a_thread() -> None:
    router = Router()
    logs = router.exchange("logs", kind="fanout", payload=Line)
    logs.subscribe()(on_line_and_event)
    logs.subscribe()(in_a_thread)
    assert [(each.takes_event, each.run) for each in router.subscriptions] == [(True, "async"), (False, "thread")]


def test_a_temporary_subscription_binds_the_queue_that_it_is_given() -> None:
    router = Router()
    logs = router.exchange("logs", kind="direct", payload=str)
    logs.subscribe("a", "b", limit=7, overflow="reject-publish", name="s")(in_a_thread)  # type: ignore[arg-type]
    (subscription,) = router.subscriptions
    assert subscription.bindings == ()
    queue = subscription.temporary_queue("q")
    assert [(each.queue, each.key) for each in queue.bindings] == [("q", "a"), ("q", "b")]
    assert (queue.label, queue.limit, queue.overflow) == ("s", 7, "reject-publish")


@pytest.mark.parametrize(
    ("kind", "keys", "options", "text"),
    [
        ("fanout", ["a"], {}, "leave the key 'a' out"),
        ("direct", [], {}, "name at least one key$"),
        ("topic", [], {}, r"name at least one key \('#' is everything\)"),
        ("topic", ["kern*"], {}, "'kern\\*' would match that very text"),
        ("topic", ["a.#b"], {}, "'#b' would match that very text"),
        ("topic", ["x" * 256], {}, "has 256 bytes; AMQP has at most 255"),
        ("headers", ["a"], {}, "bind it by header values"),
        ("headers", [], {}, "bind it by header values"),
        ("headers", [], {"headers": {"a": 1}, "match": "some"}, "match must be 'all' or 'any'"),
        ("topic", ["#"], {"headers": {"a": 1}}, "header values are for an exchange of kind 'headers'"),
        ("fanout", [], {"retry": RetryPolicy(attempts=2)}, "is temporary and is not tried again; give it a queue"),
        ("fanout", [], {"queue": "q", "limit": 5}, "limit and overflow bound a temporary queue"),
        ("fanout", [], {"queue": "q", "overflow": "drop-head"}, "limit and overflow bound a temporary queue"),
        ("fanout", [], {"limit": 0}, "limit must be a whole number from 1"),
        ("fanout", [], {"overflow": "drop-tail"}, "overflow must be 'drop-head' or 'reject-publish'"),
        ("fanout", [], {"queue": "a#"}, "queue name 'a#'"),
        ("fanout", [], {"timeout": 0}, "timeout: 0 is out of range"),
        ("fanout", [], {"queue": "q", "retry": 3}, r"subscription .*: retry=3; give a RetryPolicy\(attempts=…\)"),
        ("fanout", [], {"queue": "q", "concurrency": "3"}, "subscription .*: concurrency must be .* 1 to 65535"),
        ("fanout", [], {"concurrency": 0}, "subscription .*: concurrency must be .* 1 to 65535, not 0"),
    ],
)
def test_a_subscription_that_cannot_be_is_refused(
    kind: Any, keys: list[str], options: dict[str, Any], text: str
) -> None:
    exchange = Router().exchange("logs", kind=kind, payload=Line)
    with pytest.raises(DeclarationError, match=text):
        exchange.subscribe(*keys, **options)(on_line)


async def nothing() -> None: ...
async def three(a: Line, b: Any, c: Any) -> None: ...
async def by_name(line: Line, *, event: Any) -> None: ...
async def generator(line: Line) -> Any:
    yield line


@pytest.mark.parametrize("function", [nothing, three, by_name])
def test_a_function_that_takes_something_else_is_refused(function: Any) -> None:
    exchange = Router().exchange("logs", kind="fanout", payload=Line)
    with pytest.raises(DeclarationError, match="takes the payload, and if it wants it the Event"):
        exchange.subscribe()(function)


def test_a_subscribe_without_parentheses_and_a_key_that_is_no_text_are_refused() -> None:
    exchange = Router().exchange("logs", kind="topic", payload=Line)
    with pytest.raises(DeclarationError, match=r"exchange 'logs': <function .* with the parentheses"):
        exchange.subscribe(on_line)  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match=r"exchange 'logs': 5 is no routing key$"):
        exchange.subscribe(5)  # type: ignore[arg-type]


def test_what_is_no_function_and_a_generator_are_refused() -> None:
    exchange = Router().exchange("logs", kind="fanout", payload=Line)
    with pytest.raises(DeclarationError, match="is no function"):
        exchange.subscribe(name="x")(3)  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="is a generator"):
        exchange.subscribe()(generator)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("", {}, "use printable characters"),
        ("x" * 181, {}, "181 bytes, at most 180"),
        ("taskq.logs", {}, "names starting with 'taskq.' are taken"),
        ("logs", {"kind": "x-random"}, "there is no kind 'x-random'; there are fanout, direct, topic, headers"),
        ("logs", {"payload": type(print)}, "exchange 'logs': the payload cannot travel as JSON"),
    ],
)
def test_an_exchange_that_cannot_be_is_refused(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(DeclarationError, match=text):
        Router().exchange(name, **({"kind": "fanout", "payload": Line} | options))


def test_an_exchange_is_declared_once() -> None:
    router, other = Router(), Router()
    router.exchange("logs", kind="fanout")
    with pytest.raises(DeclarationError, match="declared twice in one router"):
        router.exchange("logs", kind="fanout")
    other.exchange("logs", kind="fanout")
    with pytest.raises(DeclarationError, match="declare it in one place, and import it from there"):
        registered(router, other)


def test_every_subscription_has_a_name_and_a_queue_of_its_own() -> None:
    router = Router()
    logs = router.exchange("logs", kind="fanout", payload=Line)
    logs.subscribe(queue="a")(on_line)
    with pytest.raises(DeclarationError, match="has a name that is taken"):
        logs.subscribe()(on_line)
    logs.subscribe(queue="a", name="again")(on_line)
    with pytest.raises(DeclarationError, match="its queue 'a' is that of subscription 'on_line'"):
        registered(router)


@pytest.mark.parametrize("described", [False, True])
def test_a_task_and_a_subscription_share_no_queue(described: bool) -> None:
    router = Router()
    router.exchange("logs", kind="fanout", payload=Line).subscribe(queue="jobs")(on_line)
    task = router.task(queue="default" if described else "jobs")(nothing)
    if described:
        router.add_queue(Queue("jobs", default=task))
    with pytest.raises(DeclarationError, match="its queue 'jobs' is that of"):
        registered(router)


def test_a_temporary_subscription_has_not_the_name_of_a_queue() -> None:
    router = Router()
    router.exchange("logs", kind="fanout", payload=Line).subscribe(name="jobs")(on_line)
    router.task(queue="jobs")(nothing)
    with pytest.raises(DeclarationError, match="has the name of a queue; rename it"):
        registered(router)


def test_the_registry_knows_durable_and_temporary_subscriptions_and_their_queues() -> None:
    router = Router()
    logs = router.exchange("logs", kind="topic", payload=Line)
    logs.subscribe("#", queue="archive", concurrency=4)(on_line)
    logs.subscribe("a.*")(in_a_thread)
    registry = registered(router)
    assert registry.own_queues() == {"archive": Queue("archive", concurrency=4)}
    assert list(registry.subscribed()) == ["archive"]
    assert list(registry.temporary()) == ["in_a_thread"]
    assert registry.bindings() == (Binding(exchange="logs", queue="archive", key="#"),)


def test_a_temporary_subscription_has_one_attempt_whatever_the_app_says() -> None:
    router = Router()
    logs = router.exchange("logs", kind="topic", payload=Line)
    logs.subscribe("#", queue="archive")(on_line)
    logs.subscribe("a.*")(in_a_thread)
    registry = registered(router)
    registry.retry = RetryPolicy(attempts=5)
    durable, temporary = router.subscriptions
    assert (registry.retry_of(durable).attempts, registry.retry_of(temporary).attempts) == (5, 1)


@pytest.mark.parametrize(("queues", "durable"), [(None, False), ({"on_line": None}, True)])
async def test_a_burst_of_temporary_subscriptions_alone_is_refused_since_it_has_no_end(
    queues: dict[str, int | None] | None, durable: bool
) -> None:
    app = TaskQ("ops", url="memory://")
    logs = app.exchange("logs", kind="fanout", payload=Line)
    logs.subscribe()(on_line)
    if durable:
        logs.subscribe(queue="archive")(in_a_thread)
    async with app:
        with pytest.raises(UsageError, match=r"never is at its end \(on_line\); run it without a burst"):
            app.worker(burst=True, queues=queues)
        if durable:
            assert app.worker(burst=True).slots == {"archive": 1}


def test_a_queue_that_is_described_says_its_concurrency_itself() -> None:
    router = Router()
    queue = router.add_queue(Queue("archive", concurrency=3, delivery_limit=5))
    logs = router.exchange("logs", kind="fanout", payload=Line)
    logs.subscribe(queue="archive")(on_line)
    assert registered(router).own_queues() == {"archive": queue}
    logs.subscribe(queue="archive", concurrency=2, name="again")(on_line)
    with pytest.raises(DeclarationError):
        registered(router)


async def test_an_exchange_in_no_open_app_says_so_after_it_has_checked_what_it_is_given() -> None:
    logs = Router().exchange("logs", kind="topic", payload=Line)
    with pytest.raises(InvalidArguments, match=r"exchange logs: payload.host: is required"):
        await logs.publish({"level": 1}, key="a")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="has 256 bytes"):
        await logs.publish(Line(host="a"), key="x" * 256)
    with pytest.raises(UsageError, match="is in no open app"):
        await logs.publish(Line(host="a"), key="x")
    with pytest.raises(UsageError, match="is in no open app"):
        logs.listen("#")
    with pytest.raises(DeclarationError, match="reserved"):
        await logs.publish(Line(host="a"), key="x", headers={"taskq-x": 1})


@pytest.mark.parametrize(
    ("annotation", "body", "value"),
    [
        (str, b'"a"', "a"),
        (str, b"info: hello", "info: hello"),
        (str, b"123", "123"),
        (int, b"123", 123),
        (bytes, b"\xff\xfe", b"\xff\xfe"),
        (Line, b'{"host":"a"}', Line(host="a")),
        (Any, b'{"x":[1]}', {"x": [1]}),
        (Any, b"no json", "no json"),
    ],
)
def test_a_foreign_body_is_json_where_it_fits_else_text(annotation: Any, body: bytes, value: object) -> None:
    assert Payload("logs", annotation).read(body, foreign=True) == value


def test_a_body_that_does_not_fit_is_an_error() -> None:
    payload = Payload("logs", Line)
    with pytest.raises(UndecodableMessage, match="the body is no JSON"):
        payload.read(b"info: hello", foreign=False)
    with pytest.raises(InvalidArguments, match=r"exchange logs: payload.host: is required"):
        payload.read(b"{}", foreign=True)
    with pytest.raises(InvalidArguments, match="exchange logs: payload"):
        payload.read(b"info: hello", foreign=True)
