"""Dead letters in the broker: list, put back, drop."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from taskq import Reject, TaskQ, Unroutable
from taskq.broker.protocol import Outgoing
from taskq.testing import Harness
from taskq.wire import headers as h
from taskq.wire.message import Message

app: TaskQ[Any] = TaskQ("test")
healed: list[bool] = []
done: list[int] = []


@app.task
async def work(n: int) -> None:
    if not healed:
        raise Reject(f"no {n}")
    done.append(n)


@pytest.fixture
async def harness() -> AsyncIterator[Harness[Any]]:
    healed.clear()
    done.clear()
    async with Harness(app) as made:
        for n in range(3):
            await work.with_options(job_id=f"job-{n}", expires=1000).enqueue(n)
        await made.drain()
        yield made


async def test_list_shows_the_oldest_first_and_leaves_them_there(harness: Harness[Any]) -> None:
    for _ in range(2):
        letters = await app.dead_letters.list("default")
        assert [(letter.job_id, letter.failure.message) for letter in letters] == [
            ("job-0", "no 0"),
            ("job-1", "no 1"),
            ("job-2", "no 2"),
        ]
    assert [letter.job_id for letter in await app.dead_letters.list("default", limit=2)] == ["job-0", "job-1"]


async def test_retry_of_one_leaves_the_others(harness: Harness[Any]) -> None:
    healed.append(True)
    assert await app.dead_letters.retry("default", ["job-1", "job-9"]) == 1
    await harness.drain()
    assert done == [1]
    assert [letter.job_id for letter in harness.dead] == ["job-0", "job-2"]


async def test_retry_of_all_runs_all_even_beyond_their_expiry(harness: Harness[Any]) -> None:
    healed.append(True)
    await harness.advance(2000)
    assert await app.dead_letters.retry("default") == 3
    await harness.drain()
    assert sorted(done) == [0, 1, 2]
    assert harness.dead == []


async def test_jobs_that_die_again_while_all_are_put_back_are_put_back_once(harness: Harness[Any]) -> None:
    assert await app.dead_letters.retry("default") == 3
    await harness.drain()
    assert sorted(letter.job_id for letter in harness.dead) == ["job-0", "job-1", "job-2"]
    assert {letter.execution for letter in harness.dead} == {2}


async def test_drop_removes_for_good(harness: Harness[Any]) -> None:
    assert await app.dead_letters.drop("default", ["job-0"]) == 1
    assert await app.dead_letters.drop("default") == 2
    await harness.drain()
    assert harness.dead == []
    assert await app.dead_letters.drop("default") == 0


@pytest.mark.parametrize("verb", ["list", "retry", "drop"])
async def test_queue_that_does_not_exist_is_an_error(harness: Harness[Any], verb: str) -> None:
    with pytest.raises(Unroutable, match=r"nowhere\.dead"):
        await getattr(app.dead_letters, verb)("nowhere")


async def test_dead_letter_without_a_record_is_one_that_the_broker_moved(harness: Harness[Any]) -> None:
    await app.dead_letters.drop("default")
    moved = Message(body=b"\xff", message_id="m", type="work", headers={h.VERSION: 1, h.ATTEMPT: "odd"})
    await app.connection.broker.publish(Outgoing(moved, "default.dead"), timeout_s=5)
    (letter,) = await app.dead_letters.list("default")
    assert (letter.reason, letter.attempt, letter.queue, letter.died_at) == ("delivery-limit", 1, "default", None)
