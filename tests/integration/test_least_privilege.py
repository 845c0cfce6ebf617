"""The permissions of docs/guide/security.md, as they stand there: enough for each role, and no more."""

from __future__ import annotations

import asyncio
import re
import shlex
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from taskq import AccessRefused, Event, Fixed, Queue, RetryPolicy, TaskFailed, TaskQ
from taskq.broker.amqp.broker import AmqpBroker
from taskq.clock import SystemClock
from tests.conformance.stand import Catch, to
from tests.integration.test_consumers import working
from tests.support.commandline import Terminal
from tests.support.rabbit import RabbitNode
from tests.support.waiting import until

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "security.md"
COMMAND = re.compile(r"^rabbitmqctl set_permissions -p shop .*$", re.MULTILINE)

SHOP = """
from taskq import Fixed, RetryPolicy, TaskQ

app = TaskQ("shop", log_level="ERROR")

@app.task(queue="images", retry=RetryPolicy(attempts=2, backoff=Fixed(0.05)))
async def resize(url: str) -> str: ...
"""


@dataclass(frozen=True)
class Role:
    configure: str
    write: str
    read: str


def roles() -> dict[str, Role]:
    """Return what the page's commands give to whom."""
    found: dict[str, Role] = {}
    for command in COMMAND.findall(PAGE.read_text().replace("\\\n", " ")):
        user, *patterns = shlex.split(command)[4:]
        found[user] = Role(*patterns)
    return found


@dataclass
class Shop:
    """The programs of the page, on one virtual host. ``ran`` and ``heard`` is what they did."""

    node: RabbitNode
    vhost: str
    users: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def url(self, role: str) -> str:
        """Return the URL for a user who has the permissions of a role."""
        if role not in self.users:
            self.users[role] = f"{role}-{uuid.uuid4().hex[:8]}"
            self.node.add_user(self.users[role], "secret")
            given = roles()[role]
            patterns = {"configure": given.configure, "write": given.write, "read": given.read}
            self.node.permit(self.users[role], self.vhost, **patterns)
        return f"amqp://{self.users[role]}:secret@{self.node.host}/{self.vhost}"

    def images(self, role: str) -> TaskQ[object]:
        """Return an app with the tasks on `images`; it has no other way to the broker than that of the role."""
        app = TaskQ[object]("shop", url=self.url(role))

        @app.task(queue="images", retry=RetryPolicy(attempts=2, backoff=Fixed(0.05)))
        async def resize(url: str) -> str:
            self.ran.append(url)
            if "bad" in url:
                raise ValueError(url)
            return url.upper()

        return app

    def audit(self, role: str) -> TaskQ[object]:
        """Return the app of the subscription."""
        app = TaskQ[object]("audit", url=self.url(role))
        news = app.exchange("news", kind="topic", payload=str)

        @news.subscribe("image.*", queue="audit", retry=RetryPolicy(attempts=2, backoff=Fixed(0.05)))
        async def audit(text: str, event: Event[str]) -> None:
            self.heard.append(text)
            if text == "bad":
                raise ValueError(text)

        return app

    @asynccontextmanager
    async def broker(self, role: str) -> AsyncIterator[AmqpBroker]:
        """A broker with the role's permissions, for what no app of the role does."""
        async with AmqpBroker(self.url(role), clock=SystemClock()) as broker:
            yield broker

    def close(self) -> None:
        for user in self.users.values():
            self.node.delete_user(user)
        self.node.drop_vhost(self.vhost)


def tasks(app: TaskQ[object]) -> dict[str, Any]:
    return {task.name: task for task in app.tasks}


async def ready(broker: AmqpBroker, queue: str) -> int:
    counts = await broker.declarer.counts(queue)
    assert counts is not None
    return counts.ready


@pytest.fixture
def bare(managed_node: RabbitNode) -> Iterator[Shop]:
    """An empty virtual host."""
    shop = Shop(managed_node, managed_node.new_vhost())
    yield shop
    shop.close()


@pytest.fixture
async def shop(bare: Shop) -> Shop:
    """What the deployer leaves behind."""
    async with bare.audit("deployer"), bare.images("deployer") as app:
        await tasks(app)["resize"].with_options(delay=0.05).enqueue("first")
    return bare


async def refused(role: str, awaitable: Awaitable[object], permission: str, thing: str) -> None:
    """Look that it is refused, for want of this permission."""
    (said,) = await asyncio.gather(awaitable, return_exceptions=True)
    assert isinstance(said, AccessRefused), f"a {role} has the permission to {permission} {thing}: {said!r}"
    assert re.search(rf"lacks the '{permission}' permission for \w+ '{re.escape(thing)}", str(said)), role
    assert "secret" not in str(said)


Refusal = tuple[Callable[[AmqpBroker], Awaitable[object]], str, str]

DECLARE: Refusal = (lambda broker: broker.declare([Queue("mine")]), "configure", "mine.dead")
CONSUME: Refusal = (lambda broker: broker.consume("images", prefetch=1, deliver=Catch()), "read", "images")
SEND: Refusal = (lambda broker: broker.publish(to("images"), timeout_s=10), "write", "amq.default")
WAIT: Refusal = (lambda broker: broker.open_inbox(lambda message: None), "configure", "taskq.reply.")
DELETE: Refusal = (lambda broker: broker.declarer.delete("images"), "configure", "images")
LOOK: Refusal = (lambda broker: broker.inspector.browse("images", limit=1), "read", "images")
LETTERS: Refusal = (lambda broker: broker.inspector.browse("images.dead", limit=1), "read", "images.dead")
PUBLISH: Refusal = (
    lambda broker: broker.publish(to("image.new")._replace(exchange="news", mandatory=False), timeout_s=10),
    "write",
    "news",
)

FORBIDDEN: dict[str, list[Refusal]] = {
    "deployer": [DECLARE],
    "producer": [DECLARE, CONSUME, WAIT, DELETE, LOOK, LETTERS, PUBLISH],
    "caller": [DECLARE, CONSUME, DELETE, LOOK, LETTERS, PUBLISH],
    "worker": [DECLARE, WAIT, DELETE, LETTERS, PUBLISH],
    "publisher": [DECLARE, CONSUME, SEND, WAIT, DELETE, LOOK, LETTERS],
    "listener": [DECLARE, CONSUME, SEND, WAIT, DELETE, LOOK, LETTERS, PUBLISH],
    "subscriber": [DECLARE, CONSUME, WAIT, DELETE, LOOK, LETTERS, PUBLISH],
    "operator": [DECLARE, CONSUME, WAIT, DELETE, LOOK, PUBLISH],
}


async def test_a_role_is_refused_what_is_not_its_own(shop: Shop) -> None:
    for role, refusals in FORBIDDEN.items():
        async with shop.broker(role) as broker:
            for what, permission, thing in refusals:
                await refused(role, what(broker), permission, thing)


def test_every_role_of_the_page_is_tried() -> None:
    assert set(roles()) == set(FORBIDDEN)


async def test_a_producer_sends_at_once_later_and_many(shop: Shop) -> None:
    async with shop.images("producer") as app, shop.broker("producer") as broker:
        resize = tasks(app)["resize"]
        before = await ready(broker, "images")
        await resize.enqueue("now")
        await resize.with_options(delay=0.1).enqueue("later")
        await app.enqueue_many(resize.bind(f"{n}") for n in range(10))
        async with asyncio.timeout(20):
            while await ready(broker, "images") < before + 12:  # noqa: ASYNC110  # nobody signals it
                await asyncio.sleep(0.02)


async def test_nobody_has_to_deploy_where_a_program_may_declare(bare: Shop) -> None:
    with pytest.raises(AccessRefused, match=r"lacks the 'configure' permission for queue 'images"):
        async with bare.images("producer"):
            pass
    async with bare.images("deployer") as app:
        await tasks(app)["resize"].enqueue("url")
        with pytest.raises(AccessRefused, match=r"lacks the 'configure' permission for exchange 'taskq\."):
            async with bare.images("producer") as producing:
                await tasks(producing)["resize"].with_options(delay=0.1).enqueue("there is no ladder yet")


async def test_a_worker_runs_retries_answers_and_buries_and_a_caller_is_told(shop: Shop) -> None:
    async with working(shop.images("worker")), shop.images("caller") as app:
        resize = tasks(app)["resize"].with_options(reply_timeout=20)
        assert await resize.call("cat.png") == "CAT.PNG"
        with pytest.raises(TaskFailed, match=r"bad\.png"):
            await resize.call("bad.png")
        job = await resize.with_options(delay=0.1).submit("later.png")
        assert await job.result() == "LATER.PNG"
    assert sorted(shop.ran) == ["bad.png", "bad.png", "cat.png", "first", "later.png"]
    async with shop.broker("operator") as broker:
        assert await ready(broker, "images.dead") == 1


async def test_a_publisher_publishes_what_a_listener_and_a_subscriber_hear(shop: Shop) -> None:
    async with working(shop.audit("subscriber")):
        hearing = TaskQ[object]("listener", url=shop.url("listener"))
        telling = TaskQ[object]("publisher", url=shop.url("publisher"))
        heard = hearing.exchange("news", kind="topic", payload=str)
        told = telling.exchange("news", kind="topic", payload=str)
        async with hearing, telling, heard.listen("#") as events:
            for text in ("good", "bad"):
                await told.publish(text, key="image.new", mandatory=True)
            assert [(await anext(events)).payload for _ in range(2)] == ["good", "bad"]
        await until(lambda: sorted(shop.heard) == ["bad", "bad", "good"])
        async with shop.broker("operator") as broker:
            async with asyncio.timeout(20):
                while not await ready(broker, "audit.dead"):  # noqa: ASYNC110  # nobody signals it
                    await asyncio.sleep(0.02)


async def test_an_operator_looks_puts_back_and_drops(shop: Shop, tmp_path: Path) -> None:
    async with working(shop.images("worker")), shop.images("producer") as app:
        bad = [await tasks(app)["resize"].enqueue(f"bad-{n}") for n in range(2)]
        async with shop.broker("operator") as broker, asyncio.timeout(20):
            while await ready(broker, "images.dead") < 2:  # noqa: ASYNC110  # nobody signals it
                await asyncio.sleep(0.02)
    url = shop.url("operator")
    shop.node.tag_user(shop.users["operator"], "management")
    (tmp_path / "shop.py").write_text(SHOP)
    variables = {"TASKQ_URL": url, "TASKQ_MANAGEMENT_URL": shop.node.management_url}

    def operate() -> None:
        with Terminal(tmp_path, variables) as terminal:
            for command, words in [
                (("check", "shop:app"), "images"),
                (("queues", "shop:app"), "audit.dead"),
                (("exchanges", "shop:app"), "news"),
                (("dead", "list", "shop:app", "images"), bad[0].id),
                (("dead", "show", "shop:app", "images", bad[0].id), "ValueError"),
                (("dead", "retry", "shop:app", "images", bad[0].id), ""),
                (("dead", "drop", "shop:app", "images", "--all"), ""),
            ]:
                said = terminal.run(*command)
                assert said.status == 0, said
                assert words in said.out, said

    await asyncio.to_thread(operate)
    async with shop.broker("operator") as broker:
        assert (await ready(broker, "images"), await ready(broker, "images.dead")) == (1, 0)
