"""Declaring on a real RabbitMQ: what exists, what differs, what is refused, and that probing changes nothing."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection

from taskq.broker.amqp.declaring import Counts, Declarer
from taskq.broker.amqp.faults import translated
from taskq.broker.amqp.frames import declaration
from taskq.broker.amqp.ladder import LADDER, UNROUTABLE, entry, way_out
from taskq.broker.amqp.link import Link
from taskq.broker.amqp.location import read_location
from taskq.broker.amqp.mismatch import Untold
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.topology import (
    Argument,
    BindingSpec,
    ExchangeSpec,
    QueueSpec,
    Topology,
    kept_queue,
    queue_specs,
    reply_queue,
)
from taskq.errors import AccessRefused, BrokerUnreachable, ExchangeMismatch, QueueMismatch, Unroutable
from taskq.tasks.exchanges import Binding, ExchangeDefinition
from taskq.tasks.queues import Queue
from tests.support.rabbit import RabbitNode, SharedRabbit
from tests.support.rabbit.fixtures import administered
from tests.support.waiting import eventually, until

# The broker says no by closing the channel or the connection, and says so in its log.
pytestmark = pytest.mark.broker_problems(
    "caused a channel exception",
    "caused a connection exception connection_forced",
    "access to vhost",
    "vhost .* not found",
    "PLAIN login refused",
)


@pytest.fixture
def node(shared_rabbit: SharedRabbit) -> RabbitNode:
    """For what only its administrator can do."""
    assert shared_rabbit.node is not None
    return shared_rabbit.node


@pytest.fixture
def vhost(amqp_url: str) -> str:
    return amqp_url.rpartition("/")[2]


@pytest.fixture
async def connection(amqp_url: str) -> AsyncIterator[AbstractConnection]:
    connection = await aio_pika.connect(amqp_url)
    yield connection
    await connection.close()


class Channels:
    """Opens the channels of a declarer, and counts them. `before`: awaited with the number of each."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.opened = 0
        self.before: Callable[[int], Awaitable[None]] | None = None

    async def __call__(self) -> HotChannel:
        self.opened += 1
        if self.before is not None:
            await self.before(self.opened)
        return await self.link.hot_channel()


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[Channels]:
    link = await Link.open(url, label="the broker", name="test", heartbeat_s=15, timeout_s=10)
    yield Channels(link)
    await link.close()


@pytest.fixture
async def channels(amqp_url: str) -> AsyncIterator[Channels]:
    async with linked(amqp_url) as channels:
        yield channels


@pytest.fixture
def declarer(channels: Channels) -> Declarer:
    return Declarer(channels, label="amqp://guest:***@here/")


@pytest.fixture
def name() -> str:
    """A queue that no other test has."""
    return f"q{uuid.uuid4().hex[:8]}"


async def made(connection: AbstractConnection, spec: QueueSpec) -> None:
    """Have a queue made as somebody else would have it."""
    async with connection.channel(publisher_confirms=False) as channel:
        underlay: Any = await channel.get_underlay_channel()
        await underlay.rpc(declaration(spec))


async def mismatch(declarer: Declarer, queue: Queue) -> dict[str, tuple[Any, Any]]:
    """What a declaration of ``queue`` beside a new one differs in; the new one is not made."""
    with pytest.raises(QueueMismatch) as caught:
        await declarer.declare([Queue(f"{queue.name}.new"), queue])
    assert caught.value.queue == queue.name
    assert await declarer.counts(f"{queue.name}.new") is None
    assert await declarer.counts(f"{queue.name}.new.dead") is None
    return dict(caught.value.differences)


async def test_declared_queues_are_there_with_their_dead_letters(declarer: Declarer, name: str) -> None:
    await declarer.declare([Queue(name), Queue(f"{name}.c", type="classic", max_priority=5)])
    for each in (name, f"{name}.dead", f"{name}.c", f"{name}.c.dead"):
        assert await declarer.counts(each) == Counts(ready=0, consumers=0)
    assert await declarer.counts(f"{name}.x") is None


async def test_declaring_again_takes_one_channel_for_any_number_of_queues(
    declarer: Declarer, channels: Channels, name: str
) -> None:
    queues = [Queue(f"{name}.{number}") for number in range(10)]
    await declarer.declare(queues)
    took_s = []
    for _ in range(5):
        channels.opened, started = 0, time.perf_counter()
        await declarer.declare([*queues, *queues])
        took_s.append(time.perf_counter() - started)
        assert channels.opened == 1
    assert min(took_s) < 0.1  # 6 ms on an idle machine


async def test_exchanges_and_bindings_that_exist_take_no_channel_more(
    declarer: Declarer, channels: Channels, name: str
) -> None:
    exchanges = [ExchangeDefinition(name=f"{name}.{number}", kind="topic") for number in range(10)]
    bindings = [Binding(exchange=each.name, queue=name, key=key) for each in exchanges for key in ("a", "b.#")]
    for _ in range(2):
        channels.opened = 0
        made = await declarer.declare([Queue(name)], exchanges, bindings)
    assert (channels.opened, made) == (1, frozenset())


async def test_declaring_nothing_is_harmless(declarer: Declarer, channels: Channels) -> None:
    await declarer.declare([], [], [])
    await declarer.apply(Topology())
    assert channels.opened == 0


async def test_programs_that_declare_at_the_same_time_do_not_disturb_each_other(channels: Channels, name: str) -> None:
    queues = [Queue(f"{name}.{number}") for number in range(3)]
    await asyncio.gather(*(Declarer(channels).declare(queues) for _ in range(4)))


async def test_arguments_that_differ_are_all_named_with_both_values(
    connection: AbstractConnection, declarer: Declarer, name: str
) -> None:
    [_, work] = queue_specs(Queue(name, delivery_limit=3))
    await made(
        connection, QueueSpec(name, arguments={**work.arguments, "x-overflow": "drop-head", "x-max-length": 500})
    )
    assert await mismatch(declarer, Queue(name)) == {
        "x-delivery-limit": (20, 3),
        "x-overflow": ("reject-publish", "drop-head"),
        "x-max-length": (None, 500),
    }


@pytest.mark.parametrize("present", [5, 0])
async def test_other_priorities_are_numbers(declarer: Declarer, name: str, present: int) -> None:
    await declarer.declare([Queue(name, type="classic", max_priority=present)])
    found = await mismatch(declarer, Queue(name, type="classic", max_priority=9))
    assert found == {"x-max-priority": (9, present or None)}


async def test_another_type_is_named_with_all_that_goes_with_it(declarer: Declarer, name: str) -> None:
    quorum, classic = Queue(name, delivery_limit=3), Queue(f"{name}.c", type="classic", max_priority=5)
    await declarer.declare([quorum, classic])
    assert await mismatch(declarer, Queue(name, type="classic", max_priority=5)) == {
        "x-queue-type": ("classic", "quorum"),
        "x-max-priority": (5, None),
        "x-delivery-limit": (None, 3),
        "x-dead-letter-strategy": (None, "at-least-once"),
        "x-overflow": (None, "reject-publish"),
    }
    assert await mismatch(declarer, Queue(f"{name}.c", delivery_limit=3)) == {
        "x-queue-type": ("quorum", "classic"),
        "x-max-priority": (None, 5),
        "x-delivery-limit": (3, None),
        "x-dead-letter-strategy": ("at-least-once", None),
        "x-overflow": ("reject-publish", None),
    }


async def test_a_bare_queue_of_somebody_else_lacks_all_of_it(
    connection: AbstractConnection, declarer: Declarer, name: str
) -> None:
    await made(connection, QueueSpec(name))
    found = await mismatch(declarer, Queue(name))
    assert {argument: mine for argument, (mine, _) in found.items()} == queue_specs(Queue(name))[1].arguments
    assert {theirs for _, theirs in found.values()} == {None, "classic"}


async def test_flags_of_a_queue_are_named_too(connection: AbstractConnection, declarer: Declarer, name: str) -> None:
    arguments: dict[str, Argument] = {
        "x-queue-type": "classic",
        "x-message-ttl": 60_000,
        "x-single-active-consumer": True,
    }
    spec = QueueSpec(name, durable=False, auto_delete=True, arguments=arguments)
    await made(connection, spec)
    found = await mismatch(declarer, Queue(name, type="classic"))
    assert found["durable"] == (True, False)
    assert found["auto_delete"] == (False, True)
    assert found["x-message-ttl"] == (None, 60_000)
    assert found["x-single-active-consumer"] == (None, True)


@pytest.mark.parametrize("further", [{}, {"x-max-age": "7D", "x-max-length-bytes": 1_000_000}])
async def test_a_stream_is_no_work_queue(
    connection: AbstractConnection, declarer: Declarer, name: str, further: dict[str, Any]
) -> None:
    await made(connection, QueueSpec(name, arguments={"x-queue-type": "stream", **further}))
    for queue in (Queue(name), Queue(name, type="classic")):
        assert (await mismatch(declarer, queue))["x-queue-type"] == (queue.type, "stream")


@pytest.mark.parametrize("declare", [True, False])
async def test_a_queue_of_another_connection_is_exclusive(
    amqp_url: str, declarer: Declarer, name: str, declare: bool
) -> None:
    other = await aio_pika.connect(amqp_url)
    async with other:
        await made(other, QueueSpec(name, durable=False, exclusive=True))
        assert await mismatch(declarer, Queue(name, declare=declare)) == {"exclusive": (False, True)}


async def test_a_dead_letter_queue_that_differs_is_named(
    connection: AbstractConnection, declarer: Declarer, name: str
) -> None:
    await made(connection, QueueSpec(f"{name}.dead", arguments={"x-queue-type": "quorum"}))
    with pytest.raises(QueueMismatch) as caught:
        await declarer.declare([Queue(name)])
    assert (caught.value.queue, list(caught.value.differences)) == (f"{name}.dead", ["x-delivery-limit"])
    assert await declarer.counts(name) is None


async def test_probing_leaves_a_queue_and_its_messages_as_they_are(
    connection: AbstractConnection, declarer: Declarer, name: str
) -> None:
    spec = QueueSpec(name, arguments={"x-queue-type": "classic", "x-max-priority": 5, "x-message-ttl": 600_000})
    await made(connection, spec)
    async with connection.channel() as channel:
        await channel.default_exchange.publish(aio_pika.Message(b"1"), name)
    await mismatch(declarer, Queue(name))
    await made(connection, spec)  # refused, if it were another one now
    assert await declarer.counts(name) == Counts(ready=1, consumers=0)


@pytest.mark.parametrize("type_", ["quorum", "classic"])
async def test_a_queue_that_goes_away_while_it_is_probed_is_not_made_again(
    amqp_url: str, channels: Channels, name: str, type_: Any
) -> None:
    mine = Queue(name, type=type_)
    theirs = Queue(name, type="classic", max_priority=5) if type_ == "quorum" else Queue(name, delivery_limit=3)
    async with linked(amqp_url) as theirs_alone:
        others = Declarer(theirs_alone)
        for at in range(1, 20):
            await others.declare([theirs])

            async def delete(number: int, at: int = at) -> None:
                if number == at:
                    await others.delete(name)

            channels.opened, channels.before = 0, delete
            with suppress(QueueMismatch):
                await Declarer(channels).declare([mine])
            if channels.opened < at:
                return  # the search was over before
            if await others.counts(name) is not None:
                await others.declare([mine])  # it was made as we meant it, else this is refused
                await others.delete(name)
    pytest.fail("the search never came to its end")


async def test_a_queue_of_somebody_else_is_checked_and_not_declared(
    connection: AbstractConnection, declarer: Declarer, name: str
) -> None:
    with pytest.raises(Unroutable) as caught:
        await declarer.declare([Queue(f"{name}.new"), Queue(name, declare=False)])
    assert caught.value.queue == name
    assert await declarer.counts(f"{name}.new") is None
    assert await declarer.counts(f"{name}.dead") is None
    await made(connection, QueueSpec(name))
    await declarer.declare([Queue(name, declare=False)])
    assert await declarer.counts(f"{name}.dead") is not None


@pytest.mark.parametrize("odd", ["straße {}", "it's '{}'", "{} in vhost '/': received none", "a..{}", "{}/+?&%"])
async def test_every_name_that_a_queue_may_have_can_be_declared(declarer: Declarer, name: str, odd: str) -> None:
    odd = odd.format(name)
    await declarer.declare([Queue(odd)])
    await declarer.apply(LADDER)
    await declarer.bind(way_out(odd))
    assert await mismatch(declarer, Queue(odd, delivery_limit=3)) == {"x-delivery-limit": (3, 20)}
    await declarer.delete(odd)
    assert await declarer.counts(odd) is None


async def test_what_a_long_name_cuts_off_is_said_to_be_another_value(declarer: Declarer, name: str) -> None:
    longest = name.ljust(180, "x")
    await declarer.declare([Queue(longest, type="classic", max_priority=3)])
    with pytest.raises(QueueMismatch) as caught:
        await declarer.declare([Queue(longest, type="classic", max_priority=5)])
    assert caught.value.differences == {"x-max-priority": (5, Untold.OTHER)}


async def test_deleting_what_does_not_exist_is_harmless(declarer: Declarer, name: str) -> None:
    await declarer.delete(name)


async def test_a_binding_of_a_queue_that_does_not_exist_is_unroutable(declarer: Declarer, name: str) -> None:
    await declarer.apply(LADDER)
    with pytest.raises(Unroutable, match=name):
        await declarer.bind(way_out(name))


async def test_an_exchange_of_another_kind_is_a_mismatch(declarer: Declarer) -> None:
    with pytest.raises(ExchangeMismatch, match=r"'amq\.topic'.*kind: declared 'fanout', the broker has 'topic'"):
        await declarer.apply(Topology(exchanges=(ExchangeSpec("amq.topic", "fanout"),)))


async def test_a_topology_that_differs_names_the_queue(declarer: Declarer, name: str) -> None:
    await declarer.apply(Topology(queues=(kept_queue(name),)))
    with pytest.raises(QueueMismatch) as caught:
        await declarer.apply(Topology(queues=(kept_queue(f"{name}.new"), kept_queue(name, message_ttl=5))))
    assert (caught.value.queue, caught.value.differences) == (name, {"x-message-ttl": (5, None)})


async def test_refusals_leave_no_channel_behind(channels: Channels, declarer: Declarer, name: str) -> None:
    await declarer.declare([Queue(name)])
    for _ in range(30):
        await mismatch(declarer, Queue(name, type="classic"))
    assert channels.opened > 200
    assert await declarer.counts(name) is not None
    await until(lambda: channels.link.channels == 0)


async def test_reply_queue_is_declared_again_under_its_name(declarer: Declarer, name: str) -> None:
    for _ in range(2):
        await declarer.apply(Topology(queues=(reply_queue(f"taskq.reply.{name}"),)))
    assert await declarer.counts(f"taskq.reply.{name}") == Counts(0, 0)


async def test_a_dead_letter_can_be_looked_at_as_often_as_one_likes(
    connection: AbstractConnection, declarer: Declarer, name: str
) -> None:
    await declarer.declare([Queue(name)])
    async with connection.channel() as channel:
        await channel.default_exchange.publish(aio_pika.Message(b"1"), f"{name}.dead")
        dead = await channel.get_queue(f"{name}.dead")
        for _ in range(40):
            message = await eventually(lambda: dead.get(fail=False), "the message is back")
            assert message is not None
            await message.nack(requeue=True)

    async def back() -> bool:
        return await declarer.counts(f"{name}.dead") == Counts(1, 0)

    await eventually(back, "the message is still there")


async def test_delayed_messages_come_on_time_and_to_their_queue_alone(
    connection: AbstractConnection, declarer: Declarer, name: str
) -> None:
    await declarer.apply(LADDER)
    await declarer.apply(LADDER)
    queues = [name, f"x.{name}", f"{name}.x"]
    await declarer.declare([Queue(queue) for queue in queues])
    await declarer.apply(Topology(bindings=tuple(way_out(queue) for queue in queues)))
    late_s: list[float] = []
    places: set[tuple[str, bytes]] = set()
    async with connection.channel() as channel:
        for queue in queues:

            async def receive(message: aio_pika.abc.AbstractIncomingMessage, queue: str = queue) -> None:
                late_s.append(time.time() - float(message.message_id or "nan"))
                places.add((queue, message.body))
                await message.ack()

            await (await channel.get_queue(queue)).consume(receive)
        for number in range(30):
            queue, not_before = queues[number % 3], time.time() + 0.01 + number * 0.037
            exchange, key = entry(not_before - time.time(), queue)
            target = await channel.get_exchange(exchange, ensure=False)
            message = aio_pika.Message(queue.encode(), message_id=repr(not_before), delivery_mode=2)
            await target.publish(message, key)
        await eventually(lambda: len(late_s) == 30, "all have come", detail=lambda: late_s)
    assert places == {(queue, queue.encode()) for queue in queues}
    assert min(late_s) >= 0
    assert max(late_s) < 5  # a busy machine; 0.1 s on an idle one


async def test_delayed_message_of_a_queue_that_went_away_is_kept(
    connection: AbstractConnection, declarer: Declarer, name: str
) -> None:
    await declarer.apply(LADDER)
    before = await declarer.counts(UNROUTABLE)
    assert before is not None
    async with connection.channel() as channel:
        exchange, key = entry(0.01, name)
        await (await channel.get_exchange(exchange, ensure=False)).publish(aio_pika.Message(b"1"), key)

    async def kept() -> bool:
        now = await declarer.counts(UNROUTABLE)
        return now is not None and now.ready == before.ready + 1

    await eventually(kept, "it is in the queue of the unroutable")


async def test_a_lost_connection_is_said_to_be_lost(channels: Channels) -> None:
    await channels.link.close()
    with pytest.raises(BrokerUnreachable, match=r"connection to amqp://x was lost.*connects again"):
        await Declarer(channels, label="amqp://x").declare([Queue("a")])


@administered
async def test_a_connection_that_the_broker_closes_meanwhile_is_lost(
    node: RabbitNode, channels: Channels, name: str
) -> None:
    async def close(number: int) -> None:
        if number == 2:
            await asyncio.to_thread(node.close_connections)

    channels.before = close
    with pytest.raises(BrokerUnreachable):
        await Declarer(channels).declare([Queue(name)])


@pytest.fixture
def stranger(node: RabbitNode) -> Iterator[str]:
    """A user with the password `hunter2` who may do nothing."""
    name = f"u{uuid.uuid4().hex[:8]}"
    node.add_user(name, "hunter2")
    yield name
    node.delete_user(name)


async def refused(url: str) -> str:
    location = read_location(url)
    with pytest.raises(AccessRefused) as caught, translated(location.label, connecting=True):
        await (await aio_pika.connect(location.addresses[0])).close()
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


@administered
async def test_logins_that_are_refused_say_what_to_do(node: RabbitNode, vhost: str, stranger: str, name: str) -> None:
    assert "Check user and password" in await refused(f"amqp://guest:hunter2@{node.host}/{vhost}")
    assert f"there is no virtual host '{name}'" in await refused(node.url(name))
    text = await refused(f"amqp://{stranger}:hunter2@{node.host}/{vhost}")
    assert f"may not use the virtual host '{vhost}'" in text
    assert f"rabbitmqctl set_permissions -p {vhost} {stranger} '.*' '.*' '.*'" in text


@administered
async def test_permissions_that_are_missing_are_named(
    node: RabbitNode, vhost: str, stranger: str, declarer: Declarer, name: str
) -> None:
    await declarer.declare([Queue(name)])
    node.allow(stranger, vhost, f"^{name}.mine")
    async with linked(f"amqp://{stranger}:hunter2@{node.host}/{vhost}") as theirs:
        mine = Declarer(theirs)
        with pytest.raises(AccessRefused, match=f"lacks the 'configure' permission for queue '{name}.x.dead'"):
            await mine.declare([Queue(f"{name}.x")])
        with pytest.raises(AccessRefused, match=r"lacks the 'write' permission for exchange 'amq\.default'"):
            await mine.declare([Queue(f"{name}.mine")])
        with pytest.raises(AccessRefused, match=r"'read' permission for exchange 'amq\.topic'.*rabbitmqctl set_"):
            await mine.bind(BindingSpec("amq.topic", f"{name}.mine.dead", "x"))
        with pytest.raises(AccessRefused, match=f"lacks the 'configure' permission for queue '{name}'"):
            await mine.delete(name)
