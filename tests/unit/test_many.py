"""Many calls at once: in order, bounded, and an account of what became of each."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from taskq import BoundCall, BrokerBlocked, EnqueueManyFailed, Job, Router
from taskq.client.many import IN_FLIGHT, enqueue_many
from taskq.client.sender import Sending
from tests.support.fakebroker import Client, FakeBroker
from tests.support.waiting import until

router = Router()


@router.task
async def work(n: int) -> None: ...


def client() -> Client:
    return Client(router, FakeBroker())


async def send_all(made: Client, calls: Any) -> list[Job]:
    return await enqueue_many(made.sender.begin, made.sender.end, calls)


def numbers(made: Client) -> list[int]:
    return [int(out.message.body.removeprefix(b'{"n":').removesuffix(b"}")) for out in made.broker.published]


def ids(made: Client) -> list[str | None]:
    return [out.message.correlation_id for out in made.broker.published]


async def lazily(count: int) -> AsyncIterator[BoundCall[None]]:
    for n in range(count):
        if n % 7 == 0:
            await asyncio.sleep(0)
        yield work.bind(n)


@pytest.mark.parametrize("kind", ["iterable", "async iterable"])
async def test_jobs_come_back_in_the_order_of_the_calls(kind: str) -> None:
    made = client()
    calls: Any = (work.bind(n) for n in range(3_000)) if kind == "iterable" else lazily(3_000)
    jobs = await send_all(made, calls)
    assert numbers(made) == list(range(3_000))
    assert [job.id for job in jobs] == ids(made)


async def test_no_calls_are_no_jobs() -> None:
    assert await send_all(client(), []) == []


async def test_bounded_number_waits_for_its_confirmation() -> None:
    made = client()
    made.broker.gate.clear()
    taken: list[int] = []

    def calls() -> Iterator[BoundCall[None]]:
        for n in range(5_000):
            taken.append(n)
            yield work.bind(n)

    sending = asyncio.create_task(send_all(made, calls()))
    for _ in range(100):
        await asyncio.sleep(0)
    assert made.broker.waiting == len(taken) == IN_FLIGHT
    made.broker.gate.set()
    assert len(await sending) == 5_000
    assert made.broker.most_waiting <= IN_FLIGHT


async def test_failure_in_the_middle_is_told_with_what_was_enqueued() -> None:
    made = client()
    made.broker.trouble = lambda out: BrokerBlocked("full") if out.message.body == b'{"n":1500}' else None
    taken: list[int] = []

    def calls() -> Iterator[BoundCall[None]]:
        for n in range(10_000):
            taken.append(n)
            yield work.bind(n)

    with pytest.raises(EnqueueManyFailed, match="first: full") as caught:
        await send_all(made, calls())
    error = caught.value
    ((call, why),) = error.failed
    assert call.body == b'{"n":1500}'
    assert isinstance(why, BrokerBlocked)
    assert len(taken) <= 1_500 + IN_FLIGHT + 1
    assert len(error.confirmed) == len(taken) - 1
    assert [job.id for job in error.confirmed] == [
        i for n, i in zip(numbers(made), ids(made), strict=True) if n != 1500
    ]


async def test_failure_is_noticed_behind_a_slow_confirmation() -> None:
    made = client()
    made.broker.gate.clear()
    taken: list[int] = []

    def begin(call: BoundCall[Any]) -> Sending:
        if call.body == b'{"n":3}':
            raise BrokerBlocked("full")
        return made.sender.begin(call)

    async def calls() -> AsyncIterator[BoundCall[None]]:
        for n in range(100):
            taken.append(n)
            yield work.bind(n)
            await asyncio.sleep(0)

    sending = asyncio.create_task(enqueue_many(begin, made.sender.end, calls()))
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(taken) < 10
    made.broker.gate.set()
    with pytest.raises(EnqueueManyFailed):
        await sending


async def test_iterable_that_raises_is_the_cause_and_what_was_taken_is_enqueued() -> None:
    made = client()

    def calls() -> Iterator[BoundCall[None]]:
        yield work.bind(0)
        yield work.bind(1)
        raise LookupError("no such row")

    with pytest.raises(EnqueueManyFailed, match=r"2 jobs enqueued, 0 not; the iterable raised LookupError") as caught:
        await send_all(made, calls())
    assert isinstance(caught.value.__cause__, LookupError)
    assert [job.id for job in caught.value.confirmed] == ids(made)
    assert caught.value.failed == []


async def test_cancellation_ends_what_is_in_flight_and_takes_no_more() -> None:
    made = client()
    made.broker.gate.clear()
    sending = asyncio.create_task(send_all(made, lazily(100)))
    await until(lambda: made.broker.waiting == 100)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert made.broker.waiting == 0


async def test_failure_leaves_the_rest_of_an_iterator_to_the_caller() -> None:
    made = client()
    made.broker.trouble = lambda out: BrokerBlocked("full") if out is made.broker.published[0] else None
    calls = iter([work.bind(n) for n in range(2_000)])
    with pytest.raises(EnqueueManyFailed) as caught:
        await send_all(made, calls)
    rest = list(calls)
    assert len(rest) + len(caught.value.confirmed) + len(caught.value.failed) == 2_000
