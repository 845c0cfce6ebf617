"""Which queues, exchanges and bindings there are: by the management API, and without it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aio_pika
import pytest
from aio_pika import ExchangeType, Message
from aio_pika.abc import AbstractChannel

from taskq.broker.amqp.broker import AmqpBroker
from taskq.broker.amqp.ladder import level_name
from taskq.broker.protocol import ExchangeState, Inspector, QueueState
from taskq.clock import SystemClock
from taskq.tasks.exchanges import Binding
from taskq.tasks.queues import Queue
from tests.conformance.stand import consuming, publish, to
from tests.support.rabbit import RabbitNode
from tests.support.rabbit.ports import free_ports
from tests.support.typed import Typed, typed_in
from tests.support.waiting import eventually
from tests.support.webserver import serving

# Without the API, RabbitMQ is asked whether something exists by an operation that fails when it does not.
pytestmark = pytest.mark.broker_problems("not_found")

SHOP = """
from taskq import TaskQ

app = TaskQ("shop", log_level="ERROR")
orders = app.exchange("orders", kind="topic", payload=str)
files = app.exchange("files", kind="headers", payload=str)

@app.task
async def resize(url: str) -> None: ...

@orders.subscribe("order.paid", "#.late", queue="mail")
async def mail(order: str) -> None: ...

@files.subscribe(headers={"type": "pdf", "pages": 1, "share": 0.1, "signed": True}, match="any", queue="print")
async def put_on_paper(file: str) -> None: ...
"""
LATER = SHOP.replace(', "#.late"', "").replace("0.1", "0.2")

VHOST_PREFIX = "a/b%20ö-"


@pytest.fixture
def managed_url(managed_node: RabbitNode) -> Iterator[str]:
    """The URL of a virtual host of the test's own, whose name has to be encoded, on a node with the plugin."""
    name = managed_node.new_vhost(VHOST_PREFIX)
    yield managed_node.url(name.replace("%", "%25").replace("/", "%2F").replace("ö", "%C3%B6"))
    managed_node.drop_vhost(name)


def opened(url: str, management_url: str) -> AmqpBroker:
    return AmqpBroker(url, clock=SystemClock(), management_url=management_url)


@pytest.fixture
async def broker(managed_url: str, managed_node: RabbitNode) -> AsyncIterator[AmqpBroker]:
    async with opened(managed_url, managed_node.management_url) as broker:
        yield broker


@pytest.fixture
async def channel(managed_url: str) -> AsyncIterator[AbstractChannel]:
    """Another program on the same virtual host."""
    async with await aio_pika.connect(managed_url) as connection:
        yield await connection.channel()


@pytest.fixture
def nobody() -> str:
    """A URL where nobody listens."""
    return f"http://127.0.0.1:{free_ports(1)[0]}"


async def names_of(inspector: Inspector) -> list[str]:
    return [state.name for state in (await inspector.list_queues()).items]


async def test_all_queues_of_the_virtual_host_are_listed_also_those_of_other_programs(
    broker: AmqpBroker, managed_node: RabbitNode, managed_url: str
) -> None:
    await broker.declare([Queue("work")])
    async with opened(managed_url, "") as other:
        await other.declare([Queue("foreign ☃/%", type="classic")])
    await publish(broker, to("work"), to("work"), to("foreign ☃/%"))
    listing = await broker.inspector.list_queues()
    assert (listing.source, listing.unknown) == (f"the management API at {managed_node.management_url}", None)
    assert [(state.name, state.ready) for state in listing.items] == [
        ("foreign ☃/%", 1), ("foreign ☃/%.dead", 0), ("work", 2), ("work.dead", 0),
    ]  # fmt: skip


async def test_numbers_come_from_the_statistics_once_there_are_any(broker: AmqpBroker) -> None:
    await broker.declare([Queue("work", type="classic")])
    await publish(broker, *[to("work") for _ in range(5)])
    catch, _ = await consuming(broker, "work", prefetch=2)
    await catch.take(2)

    async def counted() -> bool:
        return QueueState("work", 3, 2, None, 1) in (await broker.inspector.list_queues()).items

    await eventually(counted, "the statistics have what is unsettled", look_s=0.2)


async def test_what_taskq_keeps_for_itself_is_left_out_unless_it_is_asked_for(broker: AmqpBroker) -> None:
    await broker.declare([Queue("work")])
    await broker.open_inbox(lambda message: None)
    await publish(broker, to("work", not_before=4e9))
    inspector = broker.inspector
    assert await names_of(inspector) == ["taskq.unroutable", "work", "work.dead"]
    asked = (await inspector.list_queues([level_name(3)])).items
    assert [state.name for state in asked] == [level_name(3), "taskq.unroutable", "work", "work.dead"]
    exchanges = [state.name for state in (await inspector.list_exchanges()).items]
    assert [name for name in exchanges if not name.startswith("amq.")] == ["taskq.unroutable"]
    bindings = (await inspector.list_bindings()).items
    assert bindings == [Binding(exchange="taskq.unroutable", queue="taskq.unroutable")]


async def test_exchanges_and_bindings_of_every_kind_are_listed(broker: AmqpBroker, channel: AbstractChannel) -> None:
    mail = await channel.declare_queue("mail", durable=True)
    orders = await channel.declare_exchange("orders", ExchangeType.TOPIC, durable=True)
    files = await channel.declare_exchange("files", ExchangeType.HEADERS)
    news = await channel.declare_exchange("news", ExchangeType.FANOUT, durable=True)
    await mail.bind(orders, "order.*.late")
    await mail.bind(orders, "#")
    values = {"s": "ö", "i": 3, "b": True}
    await mail.bind(files, "", arguments={"x-match": "any", **values})
    await mail.bind(files, "", arguments={"x-match": "all", "s": "x"})
    await mail.bind(files, "", arguments={"s": "default"})
    await mail.bind(news, "")
    await news.bind(orders, "news")  # between exchanges
    listing = await broker.inspector.list_exchanges()
    own = [state for state in listing.items if not state.name.startswith("amq.")]
    assert own == [
        ExchangeState("files", "headers", False),
        ExchangeState("news", "fanout", True),
        ExchangeState("orders", "topic", True),
    ]
    assert ExchangeState("amq.topic", "topic", True) in listing.items
    assert "" not in [state.name for state in listing.items]
    found = (await broker.inspector.list_bindings()).items
    assert found == [
        Binding(exchange="files", queue="mail", headers=values, match="any"),
        Binding(exchange="files", queue="mail", headers={"s": "default"}),
        Binding(exchange="files", queue="mail", headers={"s": "x"}),
        Binding(exchange="news", queue="mail"),
        Binding(exchange="orders", queue="mail", key="#"),
        Binding(exchange="orders", queue="mail", key="order.*.late"),
    ]


async def test_a_new_queue_that_belongs_to_another_connection_is_named_until_there_are_numbers(
    broker: AmqpBroker, channel: AbstractChannel
) -> None:
    # The broker counts once a second, and may do so between the two: then another queue is made, and asked for.
    for number in range(20):
        queue = await channel.declare_queue(f"theirs-{number}", exclusive=True)
        listing = await broker.inspector.list_queues()
        if queue.name not in [state.name for state in listing.items]:
            break
    assert f"left out: {queue.name} (exclusive to other connections" in str(listing.unknown)
    await channel.default_exchange.publish(Message(b""), queue.name)

    async def counted() -> bool:
        listing = await broker.inspector.list_queues()
        return listing.unknown is None and QueueState(queue.name, 1, 0, None, 0) in listing.items

    await eventually(counted, "the statistics have the exclusive queue", look_s=0.2)


async def test_without_the_plugin_the_known_queues_are_asked_for_one_by_one(amqp_url: str, nobody: str) -> None:
    async with opened(amqp_url, nobody) as broker:
        await broker.declare([Queue("work")])
        await publish(broker, to("work"))
        async with opened(amqp_url, nobody) as other:
            listing = await other.inspector.list_queues(["work", "missing"])
    assert listing.items == [QueueState("work", 1, None, None, 0), QueueState("work.dead", 0, None, None, 0)]
    assert listing.source == "passive declares"
    assert listing.unknown == (
        "there may be other queues, and what is unsettled is not known: the management API at "
        f"{nobody} does not answer (connection refused); enable it (rabbitmq-plugins enable rabbitmq_management), or "
        "set TASKQ_MANAGEMENT_URL"
    )


async def test_without_the_plugin_exchanges_exist_or_not_and_bindings_are_not_known(amqp_url: str, nobody: str) -> None:
    async with opened(amqp_url, nobody) as broker:
        listing = await broker.inspector.list_exchanges(["amq.topic", "missing", "é" * 100])
        bindings = await broker.inspector.list_bindings()
    assert listing.items == [ExchangeState("amq.topic", None, None)]
    assert "their kinds are not known" in str(listing.unknown)
    assert (bindings.items, bindings.source) == ([], "passive declares")
    assert str(bindings.unknown).startswith("the bindings are not known: the management API")


async def test_a_login_that_the_api_refuses_is_told_with_its_reason(managed_node: RabbitNode, managed_url: str) -> None:
    def at(login: str) -> str:
        return managed_node.management_url.replace("//", f"//{login}@")

    async def unknown(management_url: str) -> str:
        async with opened(managed_url, management_url) as broker:
            return str((await broker.inspector.list_queues()).unknown)

    managed_node.add_user("watcher", "s3cret")
    try:
        wrong, untagged = await unknown(at("watcher:wr0ng")), await unknown(at("watcher:s3cret"))
        managed_node.tag_user("watcher", "management")
        elsewhere = await unknown(at("watcher:s3cret"))  # without a right to the virtual host
        managed_node.allow("watcher", unquote(urlsplit(managed_url).path[1:]), "")
        assert await unknown(at("watcher:s3cret")) == "None"
    finally:
        managed_node.delete_user("watcher")
    assert f"at {managed_node.management_url} refuses this login (401: " in wrong
    assert "(401: Not management user); its user needs the tag 'management'" in untagged
    assert "refuses this login (401: " in elsewhere
    assert not any(word in wrong + untagged + elsewhere for word in ("wr0ng", "s3cret"))


async def test_another_virtual_host_than_the_apis_is_told(amqp_url: str, managed_node: RabbitNode) -> None:
    async with opened(amqp_url, managed_node.management_url) as broker:
        unknown = (await broker.inspector.list_bindings()).unknown
    assert "knows no virtual host" in str(unknown)


async def test_other_services_on_that_port_are_no_api(amqp_url: str) -> None:
    async def unknown(management_url: str) -> str:
        async with opened(amqp_url, management_url) as broker:
            return str((await broker.inspector.list_queues()).unknown)

    with serving(lambda path: (200, {"Content-Type": "text/html"}, b"<html>hello</html>")) as web:
        assert "is not RabbitMQ's management API" in await unknown(web.url)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        assert "nothing came for 2 s" in await unknown(f"http://127.0.0.1:{silent.getsockname()[1]}")


async def declared(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("mail", durable=True)
        await queue.bind("amq.topic", "order.paid")
        await channel.default_exchange.publish(Message(b""), "mail", timeout=15)


@pytest.fixture
def taskq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Typed]:
    with typed_in(tmp_path, {"shop": SHOP, "later": LATER}, monkeypatch, capfd) as typed:
        yield typed


def test_the_commands_need_no_app(
    taskq: Typed, monkeypatch: pytest.MonkeyPatch, managed_node: RabbitNode, managed_url: str
) -> None:
    asyncio.run(declared(managed_url))
    monkeypatch.setenv("TASKQ_URL", managed_url)
    monkeypatch.setenv("TASKQ_MANAGEMENT_URL", managed_node.management_url)
    status, out, err = taskq("queues")
    assert (status, err) == (0, "")
    (mail,) = [line.split() for line in out.splitlines()[1:]]
    assert mail[0] == "mail"
    assert mail[1] in ("0", "1")  # RabbitMQ's statistics are some seconds old
    assert mail[3] == "-"  # delayed
    assert ["amq.topic", "topic", "yes"] in [line.split() for line in taskq("exchanges")[1].splitlines()]
    assert json.loads(taskq("bindings", "--json")[1]) == {
        "source": f"the management API at {managed_node.management_url}",
        "unknown": None,
        "bindings": [{"exchange": "amq.topic", "queue": "mail", "key": "order.paid", "match": None, "headers": {}}],
    }


def test_what_a_program_no_longer_declares_is_pruned(
    taskq: Typed, monkeypatch: pytest.MonkeyPatch, managed_node: RabbitNode, managed_url: str
) -> None:
    monkeypatch.setenv("TASKQ_URL", managed_url)
    monkeypatch.setenv("TASKQ_MANAGEMENT_URL", managed_node.management_url)
    assert taskq("send", "shop:app", "resize", '{"url": "u"}')[0] == 0
    assert taskq("bindings", "shop:app", "--prune") == (0, "nothing to remove\n", "")
    before = json.loads(taskq("bindings", "--json")[1])["bindings"]
    assert taskq("send", "later:app", "resize", '{"url": "u"}')[0] == 0
    assert taskq("bindings", "later:app", "--prune") == (
        0,
        "removed files -> print (any of pages=1, share=0.1, signed=True, type=pdf)\n"
        "removed orders -> mail (key '#.late')\n",
        "",
    )
    assert taskq("bindings", "later:app", "--prune") == (0, "nothing to remove\n", "")
    assert len(json.loads(taskq("bindings", "--json")[1])["bindings"]) == len(before) - 1


def test_the_commands_say_what_they_cannot_know(
    taskq: Typed, monkeypatch: pytest.MonkeyPatch, amqp_url: str, nobody: str
) -> None:
    monkeypatch.setenv("TASKQ_URL", amqp_url)
    monkeypatch.setenv("TASKQ_MANAGEMENT_URL", nobody)
    for what in ("queues", "exchanges", "bindings"):
        status, out, err = taskq(what)
        assert (status, out) == (0, f"no {what}\n")
        assert err.endswith("(rabbitmq-plugins enable rabbitmq_management), or set TASKQ_MANAGEMENT_URL\n")
        assert err.count("\n") == 1
