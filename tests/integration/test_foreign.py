"""Odd messages of foreign programs: each is run or becomes a dead letter, and the worker and its neighbours go on."""

import json
import logging
from struct import pack
from typing import Literal

import pytest

from taskq import Fixed, Queue, RetryPolicy, Task, TaskQ
from taskq.broker.amqp.broker import AmqpBroker
from taskq.broker.amqp.plane.rawtext import RawText
from taskq.cli.letters import as_json, show_letter
from taskq.clock import SystemClock
from tests.conformance.stand import Catch
from tests.integration.test_apps import running
from tests.support.raw import (
    APP_ID,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    CORRELATION_ID,
    HEADERS,
    MESSAGE_ID,
    REPLY_TO,
    TIMESTAMP,
    TYPE,
    RawProperties,
    publish,
    short,
    table,
)
from tests.support.waiting import eventually

pytestmark = pytest.mark.broker_problems("not_found")  # how RabbitMQ is asked whether a queue exists

ODD = b"\xff" * 200
TEXT = b"S" + pack(">I", 1) + b"x"
LATE = (2**63 + 5).to_bytes(8, "big")

ALL = (
    (CONTENT_TYPE, short(ODD)),
    (HEADERS, table({ODD: b"T" + LATE})),
    (CORRELATION_ID, short(ODD)),
    (REPLY_TO, short(ODD)),
    (MESSAGE_ID, short(ODD)),
    (TIMESTAMP, LATE),
    (APP_ID, short(ODD)),
)
MESSAGES = {
    "content type": RawProperties((CONTENT_TYPE, short(ODD))),
    "content encoding": RawProperties((CONTENT_ENCODING, short(ODD))),
    "correlation id": RawProperties((CORRELATION_ID, short(ODD))),
    "reply to": RawProperties((REPLY_TO, short(ODD))),
    "message id": RawProperties((MESSAGE_ID, short(ODD))),
    "app id": RawProperties((APP_ID, short(ODD))),
    "names of headers": RawProperties((HEADERS, table({ODD: TEXT, b"\xfe" * 200: TEXT}))),
    "value of a header": RawProperties((HEADERS, table({b"a": b"S" + pack(">I", 200) + ODD}))),
    "instants in headers": RawProperties((HEADERS, table({b"a": b"T" + LATE, b"b": b"T" + pack(">Q", 2**53)}))),
    "timestamp": RawProperties((TIMESTAMP, LATE)),
    "all of it": RawProperties(*ALL),
    "a header that fills its frame": RawProperties(
        (HEADERS, table({b"a": b"S" + pack(">I", 130_900) + b"x" * 130_900}))
    ),
    "many small numbers": RawProperties((HEADERS, table({b"%d" % n: b"b\x01" for n in range(14_000)}))),
    "type": RawProperties((TYPE, short(ODD))),
}
RUN = len(MESSAGES) - 1  # all but the last


def odd_app(url: str, kind: Literal["classic", "quorum"]) -> tuple[TaskQ, Task[..., None], list[int], list[int]]:
    """Return an app with a task for odd messages, which fails each twice, and a neighbour; and what both ran."""
    app = TaskQ("shop", url=url)
    odd_ran, neighbour_ran = list[int](), list[int]()

    @app.task(queue="odd", retry=RetryPolicy(attempts=2, backoff=Fixed(0)))
    async def fails(number: int) -> None:
        odd_ran.append(number)
        raise ValueError("no")

    @app.task(queue="neighbour")
    async def note(number: int) -> None:
        neighbour_ran.append(number)

    app.add_queue(Queue("odd", type=kind, default="fails"))
    return app, note, odd_ran, neighbour_ran


@pytest.mark.parametrize("redelivered", [False, True], ids=["new", "redelivered"])
@pytest.mark.parametrize("kind", ["classic", "quorum"])
async def test_each_odd_message_is_run_or_buried_and_nothing_else_is_disturbed(
    amqp_url: str,
    kind: Literal["classic", "quorum"],
    redelivered: bool,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "taskq")
    app, note, odd_ran, neighbour_ran = odd_app(amqp_url, kind)
    async with app:
        bodies = [b'{"number": %d}' % number for number in range(len(MESSAGES))]
        await publish(amqp_url, "odd", list(zip(MESSAGES.values(), bodies, strict=True)))
        if redelivered:
            async with AmqpBroker(amqp_url, clock=SystemClock()) as broker:
                assert len(await broker.inspector.browse("odd", limit=99)) == len(MESSAGES)
        async with running(app.worker()):
            sent = 0

            async def all_are_dead() -> bool:
                nonlocal sent
                await note.enqueue(sent)
                sent += 1
                return len(await app.dead_letters.list("odd")) == len(MESSAGES)

            await eventually(all_are_dead, "all are dead letters")
            await eventually(lambda: sorted(neighbour_ran) == list(range(sent)), "the neighbour ran all of its own")
        letters = await app.dead_letters.list("odd")
    assert sorted(odd_ran) == sorted([*range(RUN), *range(RUN)])
    by_number = {json.loads(letter.message.body)["number"]: letter for letter in letters}
    assert len(by_number) == len(MESSAGES)
    for letter in letters:
        json.dumps(as_json(letter, whole=True), ensure_ascii=False, default=str).encode()
        show_letter(letter)
    capsys.readouterr().out.encode()
    "\n".join(record.getMessage() for record in caplog.records).encode()
    reasons = {name: by_number[number].reason for number, name in enumerate(MESSAGES)}
    assert reasons == dict.fromkeys(MESSAGES, "failed") | {"type": "unknown-task"}
    assert not [record for record in caplog.records if "lost" in record.getMessage()]


async def test_what_is_put_back_has_the_bytes_that_it_came_with(amqp_url: str) -> None:
    app, *_ = odd_app(amqp_url, "quorum")
    odd = RawText(ODD)
    async with app, AmqpBroker(amqp_url, clock=SystemClock()) as broker:
        await publish(amqp_url, "odd.dead", [(RawProperties(*ALL), b"{}")])
        assert await app.dead_letters.retry("odd") == 1
        (message,) = await broker.inspector.browse("odd", limit=9)
    assert (message.content_type, message.correlation_id, message.reply_to, message.app_id) == (odd,) * 4
    assert message.headers[odd] == message.timestamp == 2**63 + 5


async def test_a_reply_carries_the_correlation_id_as_it_came(amqp_url: str) -> None:
    app = TaskQ("shop", url=amqp_url)

    @app.task(queue="odd")
    async def double(number: int) -> int:
        return 2 * number

    app.add_queue(Queue("odd", default="double"))
    asked = RawProperties((CORRELATION_ID, short(ODD)), (REPLY_TO, short(b"answers")))
    async with app, AmqpBroker(amqp_url, clock=SystemClock()) as broker:
        await broker.declare([Queue("answers")])
        answers = Catch()
        await broker.consume("answers", prefetch=1, deliver=answers)
        async with running(app.worker()):
            await publish(amqp_url, "odd", [(asked, b'{"number": 2}')])
            answer = (await answers.next()).message
    assert (answer.body, answer.correlation_id) == (b"4", RawText(ODD))
