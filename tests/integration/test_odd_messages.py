"""Messages of plain AMQP programs that are unlike any of ours: each is run, or becomes a dead letter with its reason.

None of them loops or stops a worker, and every copy that replaces one (a retry, a dead letter, one that was put back)
is read as the first one was.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

import pika
import pytest

from taskq import Context, Fixed, Queue, RetryPolicy, TaskQ
from taskq.worker.worker import Worker
from tests.support.rabbit import SharedRabbit
from tests.support.rabbit.fixtures import administered
from tests.support.raw import (
    CONTENT_TYPE,
    CORRELATION_ID,
    EXPIRATION,
    FIELDS,
    HEADERS,
    PRIORITY,
    REPLY_TO,
    TYPE,
    RawProperties,
    publish,
    short,
    table,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.broker_problems("not_found")  # how RabbitMQ is asked whether something exists

Properties = pika.BasicProperties


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        await worker.started.wait()
        yield
    finally:
        worker.stop("the test is over")
        await task


class Odd:
    """An app whose tasks fail until they are mended, and note what they got and at which attempt."""

    def __init__(self, url: str, **queue: Any) -> None:
        self.app: TaskQ[Any] = TaskQ("odd", url=url)
        self.ran: list[tuple[object, int]] = []
        self.mended = False
        policy = RetryPolicy(attempts=2, backoff=Fixed(0.05))

        @self.app.task(queue="texts", context=True, retry=policy)
        async def text(ctx: Context, text: str) -> None:
            self._take(ctx, text)

        @self.app.task(queue="bytes", context=True, retry=policy)
        async def data(ctx: Context, data: bytes) -> None:
            self._take(ctx, data)

        @self.app.task(queue="numbers", context=True, retry=policy)
        async def number(ctx: Context, n: int) -> None:
            self._take(ctx, n)

        for name, task in (("texts", text), ("bytes", data), ("numbers", number)):
            self.app.add_queue(Queue(name, default=task, **queue))

    def _take(self, ctx: Context, value: object) -> None:
        self.ran.append((value, ctx.attempt))
        if not self.mended:
            raise ValueError("not yet")

    async def reasons(self, queue: str) -> list[str]:
        """Why the dead letters of a queue died."""
        return [letter.reason for letter in await self.app.dead_letters.list(queue, limit=200)]

    async def at_rest(self) -> bool:
        """Whether nothing waits in any of the queues."""
        return all(not state.ready for state in await self.app.queues() if not state.name.endswith(".dead"))


RUN = [
    pytest.param("texts", RawProperties(), b"bare", "bare", id="no properties"),
    pytest.param("texts", Properties(), b"", "", id="empty body"),
    pytest.param("texts", Properties(content_type="application/json"), b"no JSON", "no JSON", id="said to be JSON"),
    pytest.param("texts", Properties(content_type="text/plain"), b'"JSON"', "JSON", id="said to be text"),
    pytest.param("texts", Properties(content_type="?" * 255), b"x", "x", id="content type of 255 bytes"),
    pytest.param("texts", RawProperties((CONTENT_TYPE, short(b"\xff" * 255))), b"x", "x", id="content type, no UTF-8"),
    pytest.param("texts", Properties(content_encoding="gzip"), b"x", "x", id="said to be zipped"),
    pytest.param("texts", Properties(delivery_mode=1), b"x", "x", id="transient"),
    pytest.param("bytes", Properties(), b"\xff\xfe\x00", b"\xff\xfe\x00", id="no UTF-8"),
    pytest.param("texts", Properties(), "grüße\0".encode(), "grüße\0", id="a zero byte"),
    pytest.param("numbers", Properties(), b" 30\n", 30, id="number with spaces"),
    pytest.param("numbers", Properties(), b'"30"', 30, id="number as JSON text"),
    pytest.param("texts", Properties(), b"[1, 2]", "[1, 2]", id="a list for a text"),
    pytest.param("texts", Properties(), b"[" * 100_000, "[" * 100_000, id="deep JSON"),
    pytest.param("texts", Properties(priority=200), b"x", "x", id="priority"),
    pytest.param("texts", RawProperties((PRIORITY, b"\xff")), b"x", "x", id="highest priority"),
    pytest.param("texts", Properties(expiration="60000"), b"x", "x", id="expiration"),
    pytest.param("texts", Properties(user_id="guest", app_id="them"), b"x", "x", id="user id"),
    pytest.param("texts", Properties(message_id="m" * 255, correlation_id="c" * 255), b"x", "x", id="long ids"),
    pytest.param("texts", RawProperties((CORRELATION_ID, short(b"\xe9" * 255))), b"x", "x", id="id, no UTF-8"),
    pytest.param("texts", Properties(timestamp=2**64 - 1), b"x", "x", id="after the last year"),
    pytest.param("texts", Properties(reply_to="nobody"), b"x", "x", id="nobody to reply to"),
    pytest.param("texts", Properties(reply_to="amq.rabbitmq.reply-to.x"), b"x", "x", id="a direct reply to nobody"),
    pytest.param("texts", RawProperties((REPLY_TO, short(b"\xe9" * 255))), b"x", "x", id="reply to no UTF-8"),
    pytest.param("texts", Properties(headers={"x-death": "me", "x-delivery-count": -1}), b"x", "x", id="false counts"),
    pytest.param("texts", Properties(headers={"taskq-redeliveries": "x"}), b"x", "x", id="false redeliveries"),
    pytest.param("texts", Properties(headers={"taskq-job-id": "no id\n"}), b"x", "x", id="false job id"),
    pytest.param("texts", Properties(headers={"a": "x" * 10_000, "b": "y" * 50_000}), b"x", "x", id="large headers"),
    pytest.param("texts", Properties(headers={"a": "x" * 130_900}), b"x", "x", id="largest headers"),
    pytest.param("texts", Properties(headers={f"h{n}": n for n in range(2000)}), b"x", "x", id="many headers"),
    pytest.param("texts", RawProperties((HEADERS, table({b"\xe9" * 255: b"t\x01"}))), b"x", "x", id="name, no UTF-8"),
    pytest.param("texts", Properties(), b"x" * 3_000_000, "x" * 3_000_000, id="large body"),
    *(
        pytest.param("texts", RawProperties((HEADERS, table({b"h": field}))), b"x", "x", id=f"header: {name}")
        for name, field in FIELDS.items()
    ),
]


@pytest.mark.parametrize(("queue", "properties", "body", "value"), RUN)
async def test_each_is_run_tried_again_buried_and_put_back_as_it_was(
    amqp_url: str, queue: str, properties: pika.BasicProperties, body: bytes, value: object
) -> None:
    odd = Odd(amqp_url)
    async with odd.app, running(odd.app.worker()):
        await publish(amqp_url, queue, [(properties, body)])
        await eventually(lambda: odd.reasons(queue), "it is a dead letter", detail=lambda: odd.ran)
        assert await odd.reasons(queue) == ["failed"]
        assert odd.ran == [(value, 1), (value, 2)]
        odd.mended = True
        assert await odd.app.dead_letters.retry(queue) == 1
        await eventually(lambda: len(odd.ran) == 3, "it runs once more")
        await eventually(odd.at_rest, "nothing is left")
        assert odd.ran[2:] == [(value, 1)]


@administered
async def test_copies_do_not_claim_to_be_of_the_user_who_sent_the_message(
    shared_rabbit: SharedRabbit, amqp_url: str
) -> None:
    node = shared_rabbit.node
    assert node is not None
    user, vhost = f"them-{uuid.uuid4().hex[:8]}", amqp_url.rpartition("/")[2]
    node.add_user(user, "secret")
    node.allow(user, vhost)
    odd = Odd(amqp_url)
    try:
        async with odd.app, running(odd.app.worker()):
            theirs = amqp_url.replace("guest:guest@", f"{user}:secret@")
            await publish(theirs, "texts", [(Properties(user_id=user), b"x")])
            await eventually(lambda: odd.reasons("texts"), "it is a dead letter")
            assert odd.ran == [("x", 1), ("x", 2)]
    finally:
        node.delete_user(user)


BAD = [
    pytest.param("texts", Properties(), b"\xff\xfe", "invalid-arguments", id="no UTF-8 for a text"),
    pytest.param("texts", Properties(content_encoding="gzip"), b"\x1f\x8b\x08\x00", "invalid-arguments", id="zipped"),
    pytest.param("texts", Properties(), b'{"txt": "x"}', "invalid-arguments", id="another parameter"),
    pytest.param("numbers", Properties(), b"", "invalid-arguments", id="empty body for a number"),
    pytest.param("numbers", Properties(), b"30 31", "invalid-arguments", id="two numbers"),
    pytest.param("numbers", Properties(), b"null", "invalid-arguments", id="null"),
    pytest.param("numbers", Properties(), b"1" * 5000, "invalid-arguments", id="very long number"),
    pytest.param("texts", Properties(type="order.created"), b"{}", "unknown-task", id="a type of theirs"),
    pytest.param("texts", RawProperties((TYPE, short(b"\xff" * 255))), b"{}", "unknown-task", id="type, no UTF-8"),
    pytest.param("texts", Properties(type="text"), b"bare", "undecodable", id="a task's name, and no object"),
    pytest.param("texts", Properties(headers={"taskq-version": 99}), b"x", "undecodable", id="a later version"),
    pytest.param("texts", Properties(headers={"taskq-attempt": "many"}), b"x", "undecodable", id="no number"),
    pytest.param("texts", Properties(headers={"taskq-attempt": 2**62}), b"x", "failed", id="the last attempt"),
    pytest.param("texts", Properties(headers={"taskq-execution": 2**62}), b"x", "undecodable", id="the last execution"),
    pytest.param("texts", Properties(headers={"taskq-deadline": 2**62}), b"x", "undecodable", id="no year"),
    pytest.param("none", Properties(), b"x", "unknown-task", id="no default task"),
    pytest.param("several", Properties(), b"x", "undecodable", id="several parameters"),
]


@pytest.mark.parametrize(("queue", "properties", "body", "reason"), BAD)
async def test_what_cannot_be_run_becomes_a_dead_letter_with_its_reason(
    amqp_url: str, queue: str, properties: pika.BasicProperties, body: bytes, reason: str
) -> None:
    odd = Odd(amqp_url)

    @odd.app.task(queue="none")
    async def unused() -> None: ...

    @odd.app.task(queue="several")
    async def several(a: str, b: str) -> None: ...

    odd.app.add_queue(Queue("several", default=several))
    async with odd.app, running(odd.app.worker()):
        await publish(amqp_url, queue, [(properties, body), (Properties(), b"")])
        await eventually(lambda: odd.reasons(queue), "it is a dead letter")
        await eventually(odd.at_rest, "nothing is left")
        (first, *_) = await odd.app.dead_letters.list(queue)
        assert first.reason == reason
        assert first.failure.message


async def test_an_expired_message_becomes_a_dead_letter_without_being_run(amqp_url: str) -> None:
    odd = Odd(amqp_url)
    async with odd.app:
        await publish(amqp_url, "texts", [(RawProperties((EXPIRATION, short(b"1"))), b"late")])
        await eventually(lambda: odd.reasons("texts"), "RabbitMQ has moved it")
        assert await odd.reasons("texts") == ["expired in its queue"]
        odd.mended = True
        async with running(odd.app.worker()):
            await odd.app.dead_letters.retry("texts")
            await eventually(lambda: odd.ran == [("late", 1)], "it runs when it is put back")


async def test_a_message_with_carbon_copies_runs_once_on_each_queue_and_its_retries_go_to_one(amqp_url: str) -> None:
    odd = Odd(amqp_url)
    async with odd.app, running(odd.app.worker()):
        copies = Properties(headers={"CC": ["bytes"], "BCC": ["numbers"]})
        await publish(amqp_url, "texts", [(copies, b"7")])
        for queue in ("texts", "bytes", "numbers"):
            await eventually(lambda queue=queue: odd.reasons(queue), f"{queue} has it")
        expected = [(value, attempt) for value in ("7", b"7", 7) for attempt in (1, 2)]
        assert sorted(odd.ran, key=repr) == sorted(expected, key=repr)


def message_of(parameters: Any) -> tuple[pika.BasicProperties, bytes]:
    """Return the message of a case."""
    _, properties, body, _ = parameters.values
    return properties, body


@pytest.mark.parametrize("kind", ["quorum", "classic", "bare"])
async def test_a_hundred_of_them_at_once_hold_up_nobody(amqp_url: str, kind: str) -> None:
    described: dict[str, Any] = {"quorum": {}, "classic": {"type": "classic"}}.get(
        kind, {"type": "classic", "arguments": {}, "durable": False}
    )
    odd = Odd(amqp_url, **described)
    odd.mended = True
    runnable = [message_of(each) for each in RUN if each.values[0] == "texts" and each.id != "large body"] * 2
    refused = [message_of(each) for each in BAD if each.values[0] == "texts" and "the last" not in str(each.id)]
    mixed = [message for pair in zip(runnable, cycle(refused), strict=False) for message in pair]
    assert len(mixed) >= 100
    async with odd.app, running(odd.app.worker(concurrency=10)):
        await publish(amqp_url, "texts", [*mixed, (Properties(), b"the last")])
        await eventually(lambda: ("the last", 1) in odd.ran, "the last one ran")

        async def all_ended() -> bool:
            return len(odd.ran) == len(runnable) + 1 and len(await odd.reasons("texts")) == len(mixed) - len(runnable)

        await eventually(all_ended, "each of them ended", detail=lambda: len(odd.ran))
