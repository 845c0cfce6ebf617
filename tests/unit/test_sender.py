"""What is sent, what it expires with, and what is refused before anything is sent."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq import (
    BrokerBlocked,
    MessageTooLarge,
    PublishUnconfirmed,
    Unroutable,
    UsageError,
)
from taskq.lifecycle import JobEnqueued
from taskq.wire import headers as h
from taskq.wire.job import read_job
from taskq.wire.reply import Returned, new_reply
from tests.support.calls import charge, client, double, store, twice, urgent, waits_for
from tests.support.fakebroker import FakeBroker

# Sending.


async def test_what_travels_is_what_the_wire_format_says() -> None:
    made = client()
    events: list[JobEnqueued] = []
    made.emitter.on(JobEnqueued, events.append)
    at = datetime.now(UTC) + timedelta(hours=1)
    job = await double.with_options(at=at, expires=7200, headers={"tenant": "acme"}).enqueue(3)
    (out,) = made.broker.published
    read = read_job(out.message, "default")
    assert (out.queue, out.message.body, out.message.type) == ("default", b'{"n":3}', "double")
    assert (out.message.correlation_id, out.message.reply_to, out.message.app_id) == (job.id, None, "test")
    assert out.not_before == at.timestamp()
    assert read.deadline == pytest.approx(time.time() + 7200, abs=5)
    assert out.message.headers["tenant"] == "acme"
    assert events == [JobEnqueued(job_id=job.id, task="double", queue="default", not_before=out.not_before)]


async def test_instant_in_the_past_is_at_once() -> None:
    made = client()
    await double.with_options(at=datetime.now(UTC) - timedelta(hours=1)).enqueue(3)
    assert made.broker.published[0].not_before is None


@pytest.mark.parametrize(("options", "expires_in"), [({}, 60), ({"expires": 5}, 5), ({"expires": 500}, 60)])
async def test_call_expires_with_its_wait_or_earlier_when_told_so(options: Any, expires_in: float) -> None:
    made = client(FakeBroker(twice))
    await double.with_options(**options).call(1)
    deadline = made.broker.published[0].message.headers[h.DEADLINE]
    assert isinstance(deadline, int)
    assert deadline / 1000 == pytest.approx(time.time() + expires_in, abs=2)


async def test_submit_and_enqueue_expire_only_when_told_so() -> None:
    made = client()
    await double.submit(1)
    await double.enqueue(1)
    assert not any(h.DEADLINE in out.message.headers for out in made.broker.published)


@pytest.mark.parametrize("delay", [60, 61])
async def test_call_that_is_delayed_beyond_its_wait_is_refused_before_anything_is_sent(delay: float) -> None:
    made = client()
    with pytest.raises(UsageError, match="raise reply_timeout"):
        await double.with_options(delay=delay).call(1)
    assert made.broker.published == []


async def test_unconfirmed_publish_carries_the_job_id() -> None:
    made = client(publish_timeout_s=3)
    made.broker.trouble = lambda _: PublishUnconfirmed("a message", 3)
    for verb in (double.enqueue, double.submit, double.call):
        with pytest.raises(PublishUnconfirmed, match=r"double \[job .*within 3 s") as caught:
            await verb(1)
        assert caught.value.job_id == made.broker.published[-1].message.correlation_id


async def test_call_waits_for_its_confirmation_no_longer_than_for_its_result() -> None:
    timeouts: list[float] = []

    class Noting(FakeBroker):
        def publish(self, outgoing: Any, *, timeout_s: float) -> Any:
            timeouts.append(timeout_s)
            return super().publish(outgoing, timeout_s=timeout_s)

    client(Noting(twice), publish_timeout_s=15)
    await double.enqueue(1)
    await double.call(1)
    await double.with_options(reply_timeout=2).call(1)
    assert timeouts == [15, 15, 2]


async def test_reply_that_overtakes_the_confirmation_is_the_end_of_both() -> None:
    made = client()
    made.broker.gate.clear()
    told: list[JobEnqueued] = []
    made.emitter.on(JobEnqueued, told.append)
    calling = asyncio.create_task(double.call(1))
    await waits_for(made, 1)
    made.broker.reply(made.broker.published[0].message, Returned(b"2"))
    assert await calling == 2
    await asyncio.sleep(0)
    assert made.broker.waiting == 0, "what has been run is not sent once more"
    assert [each.job_id for each in told] == [made.broker.published[0].message.correlation_id]


async def test_call_that_cannot_be_sent_ends_with_that_error_and_leaves_no_wait() -> None:
    made = client()
    made.broker.trouble = lambda _: Unroutable("default")
    with pytest.raises(Unroutable):
        await double.call(1)
    assert len(made.replies) == 0


async def test_what_becomes_of_a_finished_call_does_not_touch_the_next_one_of_its_job_id() -> None:
    made = client()
    named = double.with_options(job_id="order-7")
    first = made.replies.expect("order-7", double.definition, 5)
    made.replies.receive(new_reply(Returned(b"2"), "order-7"))
    calling = asyncio.create_task(named.call(1))
    await waits_for(made, 1)
    first.fail(BrokerBlocked("late"))
    made.broker.reply(made.broker.published[0].message, Returned(b"4"))
    assert await calling == 4


async def test_cancelled_publish_leaves_no_wait() -> None:
    made = client()
    made.broker.gate.clear()
    submitting = asyncio.create_task(double.submit(1))
    await waits_for(made, 1)
    assert len(made.replies) == 1
    submitting.cancel()
    await asyncio.wait([submitting])
    assert len(made.replies) == 0


async def test_own_job_id_is_used_and_awaited_only_once_at_a_time() -> None:
    made = client()
    named = double.with_options(job_id="order-7")
    job = await named.submit(1)
    assert job.id == made.broker.published[0].message.correlation_id == "order-7"
    for verb in (named.submit, named.call):
        with pytest.raises(UsageError, match="'order-7' is being waited for already"):
            await verb(2)
    assert len(made.broker.published) == 1
    made.broker.reply(made.broker.published[0].message, Returned(b"2"))
    await job.result()
    await named.submit(1)
    await named.enqueue(1)


@pytest.mark.parametrize(
    ("options", "says"),
    [({}, "the call of store has"), ({"headers": {"big": "x" * 17_000}}, "the header table of the call of store has")],
)
async def test_message_that_is_too_large_is_refused_before_anything_is_sent(options: Any, says: str) -> None:
    made = client(max_message_bytes=50_000)
    task = store.with_options(**options)
    for verb in (task.enqueue, task.submit, task.call):
        with pytest.raises(MessageTooLarge, match=says):
            await verb("x" * (60_000 if not options else 1))
    assert made.broker.published == []
    assert len(made.replies) == 0


async def test_priority_is_held_against_the_queue() -> None:
    made = client()
    await urgent.with_options(priority=5).enqueue()
    assert made.broker.published[0].message.priority == 5
    with pytest.raises(UsageError, match="priority 6 on queue 'urgent', which has priorities up to 5"):
        await urgent.with_options(priority=6).enqueue()
    with pytest.raises(UsageError, match=r"priority 1 on queue 'default', which has none.*max_priority"):
        await double.with_options(priority=1).enqueue(1)
    await charge.with_options(priority=9).enqueue(1)  # its queue is somebody else's, who knows
    assert len(made.broker.published) == 2
