"""What a job costs, in instructions: a guard of the hot path that does not depend on how busy the machine is.

The bounds are what was counted with Python 3.11, and a little more. A change that needs more says why, and raises them;
one that needs much less lowers them, so that they go on guarding.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from struct import pack

import pytest
from pamqp import commands

from taskq import TaskQ
from taskq.broker.amqp.plane.properties import encode_content
from taskq.wire.ids import new_job_id
from taskq.wire.job import new_job
from taskq.wire.message import Message
from taskq.wire.reply import Returned, new_reply
from tests.support.counting import Counted, Counting
from tests.support.shop import working
from tests.support.waiting import until
from tests.support.wired import WiredBackend, WiredBroker

FEW, MANY = 50, 250
_TIMES = 3
LOOSE = 0.85


class Stage:
    """An app over a scripted peer, whose only task adds."""

    def __init__(self) -> None:
        backend = WiredBackend()
        self.broker: WiredBroker = backend.broker
        self.app: TaskQ = TaskQ("cost", url="amqp://peer")
        self.app.use_backend(backend)
        self._confirmed = self._delivered = 0

        @self.app.task
        async def add(a: int, b: int) -> int:
            return a + b

        self.add = add

    async def confirm(self, count: int) -> None:
        """Confirm ``count`` publishes in one piece, when all of them are here."""
        self._confirmed += count
        await self.broker.peer.until_published(self._confirmed)
        self.broker.peer.say(commands.Basic.Ack(self._confirmed, multiple=True))

    def delivery(self, messages: list[Message]) -> bytes:
        """Return the bytes that hand out messages."""
        tags = range(self._delivered + 1, self._delivered + 1 + len(messages))
        self._delivered += len(messages)
        return b"".join(delivered(2, tag, message) for tag, message in zip(tags, messages, strict=True))

    def say(self, data: bytes) -> None:
        """Send bytes in one piece."""
        self.broker.peer.plane.data_received(data)

    async def acknowledged(self) -> None:
        """Wait until all that was handed out is acknowledged."""
        acks = self.broker.peer.of
        await until(lambda: max((ack.delivery_tag for ack in acks(commands.Basic.Ack)), default=0) == self._delivered)


def delivered(channel: int, tag: int, message: Message) -> bytes:
    """Return the frames of a delivery."""
    method = b"\x00\x3c\x00\x3c\x011" + pack(">QB", tag, 0) + b"\x00\x07default"
    parts = ((1, method), (2, encode_content(message)), (3, message.body))
    return b"".join(pack(">BHI", kind, channel, len(part)) + part + b"\xce" for kind, part in parts)


@asynccontextmanager
async def on_stage(*, worker: bool) -> AsyncIterator[Stage]:
    stage = Stage()
    async with stage.app:
        if not worker:
            yield stage
            return
        running = stage.app.worker(concurrency=1000)
        async with working(running):
            yield stage
            running.stop("the test is over")


def jobs(stage: Stage, count: int, reply_to: str | None = None) -> list[Message]:
    """Return messages as a sender makes them for ``add``."""
    return [
        new_job(
            task=stage.add.name,
            job_id=new_job_id(),
            queue="default",
            body=b'{"a":1,"b":2}',
            now=1_750_000_000.0,
            app_id="cost",
            reply_to=reply_to,
        )
        for _ in range(count)
    ]


Measure = Callable[[int], Awaitable[Counted]]


async def of_each(measure: Measure) -> Counted:
    """Return what one job costs: what many need more than few, the least of some times.

    A machine that is busy adds turns of the loop, and timers that come due; it takes nothing away.
    """
    await measure(FEW)  # fills what is remembered
    few = [await measure(FEW) for _ in range(_TIMES)]
    many = [await measure(MANY) for _ in range(_TIMES)]
    jobs = MANY - FEW
    return Counted(
        (min(each.instructions for each in many) - min(each.instructions for each in few)) // jobs,
        (min(each.calls for each in many) - min(each.calls for each in few)) // jobs,
    )


async def enqueue(stage: Stage, count: int) -> Counted:
    with Counting() as counting:
        sends = [asyncio.ensure_future(stage.add.enqueue(n, 1)) for n in range(count)]
        await stage.confirm(count)
        await asyncio.gather(*sends)
    return counting.counted


async def enqueue_many(stage: Stage, count: int) -> Counted:
    with Counting() as counting:
        sending = asyncio.ensure_future(stage.app.enqueue_many(stage.add.bind(n, 1) for n in range(count)))
        await stage.confirm(count)
        assert len(await sending) == count
    return counting.counted


async def execute(stage: Stage, count: int) -> Counted:
    data = stage.delivery(jobs(stage, count))
    with Counting() as counting:
        stage.say(data)
        await stage.acknowledged()
    return counting.counted


async def answer(stage: Stage, count: int) -> Counted:
    data = stage.delivery(jobs(stage, count, reply_to="taskq.reply.somebody"))
    with Counting() as counting:
        stage.say(data)
        await stage.confirm(count)
        await stage.acknowledged()
    return counting.counted


async def call(stage: Stage, count: int) -> Counted:
    asked = stage.broker.peer.correlated
    with Counting() as counting:
        calls = [asyncio.ensure_future(stage.add.call(n, 1)) for n in range(count)]
        await stage.confirm(count)
    data = stage.delivery([new_reply(Returned(b"3"), job_id) for job_id in asked[-count:]])
    with Counting(counting.counted):
        stage.say(data)
        assert await asyncio.gather(*calls) == [3] * count
    return counting.counted


BOUNDS = {
    enqueue: Counted(1330, 43),
    enqueue_many: Counted(1350, 48),
    execute: Counted(1990, 64),
    answer: Counted(3190, 110),
    call: Counted(2510, 83),
}


@pytest.mark.parametrize("what", BOUNDS, ids=lambda what: what.__name__)
async def test_a_job_costs_no_more_than_it_did(what: Callable[[Stage, int], Awaitable[Counted]]) -> None:
    bound = BOUNDS[what]
    async with on_stage(worker=what in (execute, answer)) as stage:
        cost = await of_each(lambda count: what(stage, count))
    assert cost.instructions <= bound.instructions, f"{what.__name__} costs more instructions: {cost}"
    assert cost.calls <= bound.calls, f"{what.__name__} costs more calls of C functions: {cost}"
    if sys.version_info[:2] == (3, 11):
        assert cost.instructions >= LOOSE * bound.instructions, (
            f"{what.__name__} became cheaper, lower its bound: {cost}"
        )
        assert cost.calls >= LOOSE * bound.calls, f"{what.__name__} became cheaper, lower its bound: {cost}"
