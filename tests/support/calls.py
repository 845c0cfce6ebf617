"""A few tasks and the client's side over a fake broker, for tests of calls."""

import asyncio

from taskq import Queue, Router
from taskq.wire.message import Message
from taskq.wire.reply import Reply, Returned
from tests.support.fakebroker import Client, FakeBroker
from tests.support.waiting import until

router = Router()
router.add_queue(Queue("urgent", max_priority=5, type="classic"))


@router.task
async def double(n: int) -> int:
    return 2 * n


@router.task(queue="urgent")
async def urgent() -> None: ...


@router.remote("billing.charge", queue="billing")
def charge(amount: int) -> int:
    raise NotImplementedError


@router.task
async def store(text: str) -> None: ...


def twice(message: Message) -> Reply:
    n = int(message.body.removeprefix(b'{"n":').removesuffix(b"}"))
    return Returned(str(2 * n).encode())


def client(broker: FakeBroker | None = None, **limits: float) -> Client:
    return Client(router, broker or FakeBroker(), **limits)


async def waits_for(made: Client, jobs: int) -> None:
    await until(lambda: len(made.broker.published) >= jobs)
    await asyncio.sleep(0)
