"""An app in a harness, and the means to send and receive what is not ours."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from taskq import (
    Context,
    Fixed,
    Queue,
    Reject,
    RetryPolicy,
    Snooze,
    TaskQ,
)
from taskq.broker.protocol import Outgoing
from taskq.lifecycle import (
    Event,
    ExecutionEnded,
)
from taskq.testing import Harness
from taskq.wire.message import Message
from tests.support.waiting import until

THREE = RetryPolicy(attempts=3, backoff=Fixed(10))


@dataclass
class Kit:
    """An app in a harness, and the means to send and receive what is not ours."""

    app: TaskQ[Any]
    h: Harness[Any]
    replies: list[Message]
    reply_to: str = ""

    async def publish(self, message: Message, queue: str = "default") -> None:
        await self.app.connection.broker.publish(Outgoing(message, queue), timeout_s=5)

    def kinds(self) -> list[type[Event]]:
        return [type(e) for e in self.h.events if isinstance(e, ExecutionEnded)]


app: TaskQ[Any] = TaskQ("test")
runs: list[Any] = []


@app.task(retry=THREE, context=True)
async def flaky(ctx: Context[Any], succeeds_at: int) -> int:
    runs.append((ctx.attempt, ctx.execution))
    if ctx.attempt < succeeds_at:
        raise ValueError(f"attempt {ctx.attempt} failed")
    return ctx.attempt


@app.task
async def noted(n: int) -> int:
    runs.append(n)
    return n


@app.task(context=True)
async def snoozing(ctx: Context[Any], until_execution: int) -> None:
    runs.append((ctx.attempt, ctx.execution))
    if ctx.execution < until_execution:
        raise Snooze(30)


@app.task
async def rejecting() -> None:
    raise Reject("not for us")


@app.task(queue="texts")
async def shout(text: str) -> str:
    runs.append(text)
    return text.upper()


@app.task(queue="numbers")
async def fib(n: int) -> int:
    return n if n < 2 else await fib(n - 1) + await fib(n - 2)


app.add_queue(Queue("texts", default=shout))
app.add_queue(Queue("numbers", default=fib))


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    runs.clear()
    async with Harness(app) as harness:
        made = Kit(app, harness, [])
        inbox = await app.connection.broker.open_inbox(made.replies.append)
        made.reply_to = inbox.address
        yield made


async def arrives(replies: list[Message], count: int = 1) -> Message:
    await until(lambda: len(replies) >= count)
    return replies[-1]
