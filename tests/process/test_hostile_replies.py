"""Hostile replies to the reply queue of a client: dropped and counted, or a clear error for the caller concerned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from taskq import TaskQ, TaskqError, UndecodableMessage
from taskq.broker.protocol import Outgoing
from taskq.lifecycle import ReplyDropped
from taskq.tasks.task import ResultTask
from taskq.wire.ids import new_message_id
from taskq.wire.message import Message
from taskq.wire.reply import Returned, new_reply
from tests.fuzz import wire
from tests.support.stage import Stage
from tests.support.waiting import until

pytestmark = pytest.mark.broker_problems()  # RabbitMQ refuses some names, and fails inside for others

LARGE = 8 << 20  # bytes


class Caller:
    """A client of its own, whose task nobody runs, and the means to answer it."""

    def __init__(self, url: str) -> None:
        self.app: TaskQ[Any] = TaskQ("caller", url=url)
        self.dropped: list[ReplyDropped] = []
        self.app.on(ReplyDropped)(self.dropped.append)

        @self.app.remote("double", queue="strict")
        def double(number: int) -> int:
            raise NotImplementedError

        self.double: ResultTask[[int], int] = double

    async def answer(self, *replies: Message) -> None:
        """Publish to its reply queue."""
        connection = self.app.connection
        address = await connection.replies.address(10)
        for reply in replies:
            await connection.broker.publish(Outgoing(reply, address), timeout_s=10)


@pytest.fixture
async def caller(stage: Stage) -> AsyncIterator[Caller]:
    made = Caller(stage.app.settings().url)
    async with made.app:
        yield made


def reply(correlation_id: str | None, **changes: Any) -> Message:
    """Return a good reply with changes."""
    return new_reply(Returned(b"42"), correlation_id)._replace(message_id=new_message_id(), **changes)


UNREADABLE = [
    pytest.param({"body": b"no JSON"}, "does not fit", id="no JSON"),
    pytest.param({"body": b'"text"'}, "does not fit", id="another type"),
    pytest.param({"body": b"42 42"}, "does not fit", id="two values"),
    pytest.param({"body": b"[" * 100_000}, "does not fit", id="deep"),
    pytest.param({"body": b"9" * 100_000}, "does not fit", id="a number of many digits"),
    pytest.param({"body": b"x" * LARGE}, "does not fit", id="huge"),
    pytest.param({"body": b"\xff\xfe"}, "does not fit", id="no UTF-8"),
    pytest.param({"type": "chunk\n\x1b[2J"}, "unknown type 'chunk\\n\\x1b[2J'", id="an unknown type"),
    pytest.param({"type": "error", "body": b"no JSON"}, "cannot be read", id="an error that is no JSON"),
    pytest.param({"type": "error", "body": b"[]"}, "cannot be read", id="an error that is a list"),
    pytest.param({"type": "error", "body": b'{"type":' * 50_000}, "cannot be read", id="a deep error"),
]


@pytest.mark.parametrize(("changes", "text"), UNREADABLE)
async def test_a_reply_that_cannot_be_read_is_a_clear_error_for_its_caller_and_nobody_else(
    caller: Caller, changes: dict[str, Any], text: str
) -> None:
    concerned, other = await caller.double.submit(1), await caller.double.submit(2)
    await caller.answer(reply(concerned.id, **changes), reply(other.id))
    with pytest.raises(UndecodableMessage) as raised:
        await concerned.result()
    assert text in str(raised.value)
    assert len(str(raised.value)) < 2_000
    assert await other.result() == 42


async def test_replies_that_nobody_waits_for_are_dropped_and_counted(stage: Stage, caller: Caller) -> None:
    job = await caller.double.submit(1)
    strangers = [None, "", "1", "x" * 255, "\x1b[2J\n", "00000000-0000-7000-8000-000000000000"]
    await caller.answer(*(reply(stranger) for stranger in strangers), *(reply(job.id) for _ in range(50)))
    assert await job.result() == 42
    await until(lambda: len(caller.dropped) == len(strangers) + 49)
    assert len(caller.app.connection.replies) == 0
    await stage.workers.start("--queue", "strict=1")
    assert await caller.double.call(4) == 8, "the next one gets its own"


async def test_drawn_replies_end_their_own_wait_or_none(caller: Caller) -> None:
    rng, embedded = Random(3), "sqlite" in caller.app.settings().url
    draw = wire.from_sqlite if embedded else wire.from_amqp
    jobs = [await caller.double.submit(n) for n in range(60)]
    for job in jobs:
        drawn = draw(rng)
        headers = {name: value for name, value in drawn.headers.items() if name not in ("CC", "BCC")}
        hostile = drawn._replace(
            message_id=new_message_id(), headers=headers, type=rng.choice(("result", "error", drawn.type))
        )
        try:
            await caller.answer(hostile, hostile._replace(correlation_id=job.id))
        except TaskqError:  # what not even a hostile program can send on this broker
            pass
        await caller.answer(reply(job.id))
    results = await asyncio.gather(*(job.result() for job in jobs), return_exceptions=True)
    assert all(isinstance(result, int | TaskqError) for result in results), results
    assert len(caller.app.connection.replies) == 0
