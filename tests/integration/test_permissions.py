"""What a user may not do: each missing permission is named where it is missed, and comes back under what runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from taskq import AccessRefused, Queue, TaskQ
from taskq.broker.amqp.broker import AmqpBroker
from taskq.clock import SystemClock
from taskq.lifecycle import ConsumerInterrupted, ConsumerResumed, SettleFailed
from taskq.tasks.exchanges import Binding, ExchangeDefinition
from tests.conformance.stand import Catch, temporary, through, to
from tests.integration.test_consumers import count, reasons, told_by, working
from tests.integration.test_errors import elsewhere
from tests.support.ladder import make_ladder
from tests.support.rabbit import RabbitNode
from tests.support.waiting import eventually, until

SECRET = "hunter2"
ALL = ".*"
NONE = "^$"
NEWS = ExchangeDefinition(name="news", kind="topic")


@dataclass
class User:
    """Ada, who may do what a test says; `guest` has made the queue `work`, the exchange `news` and the ladder."""

    node: RabbitNode
    vhost: str

    @property
    def owners_url(self) -> str:
        return self.node.url(self.vhost)

    @property
    def url(self) -> str:
        return elsewhere(self.owners_url, user=f"ada:{SECRET}")

    def may(self, *, configure: str = ALL, write: str = ALL, read: str = ALL) -> None:
        self.node.permit("ada", self.vhost, configure=configure, write=write, read=read)

    async def may_now(self, **patterns: str) -> None:
        """Change it for those who are connected, too, who have to connect again."""
        self.may(**patterns)
        await asyncio.to_thread(self.node.close_connections)


@pytest.fixture
async def ada(own_node: RabbitNode) -> User:
    own_node.add_user("ada", SECRET)
    user = User(own_node, own_node.new_vhost())
    await make_ladder(user.owners_url)
    async with AmqpBroker(user.owners_url, clock=SystemClock()) as broker:
        await broker.declare([Queue("work")], exchanges=[NEWS])
    return user


Attempt = Callable[[AmqpBroker], Awaitable[object]]

# what is tried, the pattern that leaves out what it needs, and the permission and the thing that the error names
MISSING: dict[str, tuple[Attempt, dict[str, str], str, str]] = {
    "declaring a queue": (
        lambda broker: broker.declare([Queue("other")]), {"configure": NONE}, "configure", "queue 'other.dead'"),
    "declaring a queue that dead-letters": (
        lambda broker: broker.declare([Queue("second")]), {"write": NONE}, "write", "exchange 'amq.default'"),
    "declaring an exchange": (
        lambda broker: broker.declare([], exchanges=[ExchangeDefinition(name="other", kind="fanout")]),
        {"configure": NONE}, "configure", "exchange 'other'"),
    "binding to an exchange": (
        lambda broker: broker.declare([], bindings=[Binding(exchange="news", queue="work", key="#")]),
        {"read": "^work$"}, "read", "exchange 'news'"),
    "binding a queue": (
        lambda broker: broker.declare([], bindings=[Binding(exchange="news", queue="work", key="#")]),
        {"write": "^news$"}, "write", "queue 'work'"),
    "sending a job": (
        lambda broker: broker.publish(to("work"), timeout_s=10), {"write": NONE}, "write", "exchange 'amq.default'"),
    "sending a delayed job: the way out": (
        lambda broker: broker.publish(to("work", not_before=4e9), timeout_s=10),
        {"write": r"^(amq\.default|taskq\..*)$"}, "write", "queue 'work'"),
    "sending a delayed job: a level": (
        lambda broker: broker.publish(to("work", not_before=4e9), timeout_s=10),
        {"configure": NONE, "write": r"^(amq\.default|work)$"}, "write", "exchange 'taskq.delay.50x28.27'"),
    "publishing an event": (
        lambda broker: broker.publish(through("news"), timeout_s=10), {"write": NONE}, "write", "exchange 'news'"),
    "consuming": (
        lambda broker: broker.consume("work", prefetch=1, deliver=Catch()), {"read": NONE}, "read", "queue 'work'"),
    "subscribing: the queue": (
        lambda broker: broker.subscribe(temporary(("news", "#")), prefetch=1, deliver=Catch()),
        {"configure": NONE}, "configure", "queue 'taskq.subscription."),
    "subscribing: the exchange": (
        lambda broker: broker.subscribe(temporary(("news", "#")), prefetch=1, deliver=Catch()),
        {"read": r"^taskq\.subscription"}, "read", "exchange 'news'"),
    "waiting for results: the queue": (
        lambda broker: broker.open_inbox(lambda message: None),
        {"configure": NONE}, "configure", "queue 'taskq.reply."),
    "waiting for results: reading it": (
        lambda broker: broker.open_inbox(lambda message: None), {"read": NONE}, "read", "queue 'taskq.reply."),
    "looking at dead letters": (
        lambda broker: broker.inspector.browse("work.dead", limit=1), {"read": NONE}, "read", "queue 'work.dead'"),
}  # fmt: skip


async def test_a_missing_permission_is_named_where_it_is_missed_and_enough_once_it_is_there(ada: User) -> None:
    for tried, (attempt, patterns, permission, thing) in MISSING.items():
        ada.may(**patterns)
        async with AmqpBroker(ada.url, clock=SystemClock()) as broker:
            text = await refusal_of(attempt(broker))
            assert f"the user 'ada' lacks the '{permission}' permission for {thing}" in text, tried
            assert f"rabbitmqctl set_permissions -p {ada.vhost} ada " in text, tried
            ada.may()
            await eventually(lambda: works(attempt, broker), f"allowed: {tried}")  # noqa: B023  # awaited here


async def refusal_of(attempt: Awaitable[object]) -> str:
    with pytest.raises(AccessRefused) as caught:
        await attempt
    assert SECRET not in str(caught.value) + repr(caught.value.__cause__)
    return str(caught.value)


async def works(attempt: Attempt, broker: AmqpBroker) -> bool:
    try:
        await attempt(broker)
    except AccessRefused:
        return False
    return True


async def test_a_program_without_the_right_to_declare_uses_what_it_finds(ada: User) -> None:
    ada.may(configure=NONE)
    async with AmqpBroker(ada.url, clock=SystemClock()) as broker:
        await broker.declare([Queue("work", delivery_limit=3)], exchanges=[NEWS])
        with pytest.raises(AccessRefused, match=r"'configure' permission for queue 'other"):
            await broker.declare([Queue("work"), Queue("other")])
        catch = Catch()
        await broker.consume("work", prefetch=1, deliver=catch)
        await broker.publish(to("work", b"now"), timeout_s=10)
        assert await catch.settled() == b"now"


# While it runs.


async def test_rights_that_go_and_come_back_under_a_worker_a_producer_and_a_caller_lose_nothing(ada: User) -> None:
    app = TaskQ[object]("shop", url=ada.url, publish_timeout=10)
    told, ran, gate = told_by(app), list[int](), asyncio.Event()
    ada.may()

    @app.task(queue="work")
    async def double(number: int) -> int:
        ran.append(number)
        await gate.wait()
        return 2 * number

    async with working(app, 2):
        pending = await double.with_options(reply_timeout=60).submit(1)
        await until(lambda: ran == [1])
        await ada.may_now(configure=NONE, write=NONE, read=NONE)
        await until(lambda: any("lacks the 'read' permission for queue 'work'" in reason for reason in reasons(told)))
        with pytest.raises(AccessRefused, match=r"lacks the 'write' permission for exchange 'amq\.default'"):
            await double.enqueue(2)
        gate.set()
        resumed = count(told, ConsumerResumed)
        ada.may()
        await until(lambda: count(told, ConsumerResumed) > resumed)
        await double.enqueue(3)
        assert await pending.result() == 2
        await until(lambda: 3 in ran)
        assert 2 not in ran, "what was refused was not sent"
    assert SECRET not in str(told)
    assert count(told, ConsumerInterrupted) <= 6, "it is told once for each reason"


async def test_a_result_that_may_not_be_sent_waits_for_the_right_and_frees_its_slot_then(ada: User) -> None:
    # Two users: the worker's loses the right to write, and keeps the one to consume.
    working_app = TaskQ[object]("worker", url=ada.url)
    told, gate = told_by(working_app), asyncio.Event()

    @working_app.task(queue="work", name="slow")
    async def slow(number: int) -> int:
        await gate.wait()
        return number

    calling = TaskQ[object]("caller", url=ada.owners_url)

    @calling.remote("slow", queue="work")
    def stub(number: int) -> int:
        raise NotImplementedError

    ada.may()
    async with working(working_app), calling:
        jobs = [await stub.with_options(reply_timeout=60).submit(number) for number in range(3)]
        await ada.may_now(configure=NONE, write=NONE)
        gate.set()
        await until(lambda: count(told, SettleFailed) > 0)
        (failed, *_) = [event for event in told if isinstance(event, SettleFailed)]
        assert "lacks the 'write' permission for exchange 'amq.default'" in failed.error
        ada.may()
        assert [await job.result() for job in jobs] == [0, 1, 2]


async def test_a_user_who_is_gone_is_told_and_let_in_again(ada: User) -> None:
    app = TaskQ[object]("shop", url=ada.url)
    told, ran = told_by(app), list[int]()
    ada.may()

    @app.task(queue="work")
    async def note(number: int) -> None:
        ran.append(number)

    async with working(app):
        ada.node.delete_user("ada")  # which ends her connections
        broker: Any = app.connection.broker
        await eventually(lambda: "refuses this login" in str(broker.lifeline.trouble()), "the login is refused")
        sent = asyncio.create_task(note.enqueue(1))
        ada.node.add_user("ada", SECRET)
        ada.may()
        await sent
        await until(lambda: ran == [1])
    assert SECRET not in str(told)
