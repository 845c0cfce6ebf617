"""Calls and their results, over a broker that is fed by hand: nothing grows, every wait ends."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from taskq import (
    BrokerUnreachable,
    JobCancelled,
    JobExpired,
    PublishUnconfirmed,
    ResultTimeout,
    TaskFailed,
    UndecodableMessage,
    UsageError,
)
from taskq.lifecycle import ReplyDropped
from taskq.wire.failure import Failure
from taskq.wire.message import Message
from taskq.wire.reply import Cancelled, Expired, Failed, Reply, Returned
from tests.support.calls import client, double, twice, waits_for
from tests.support.fakebroker import FakeBroker, FakeInbox
from tests.support.waiting import until

# Growth.


async def flat(steps: AsyncIterator[None]) -> None:
    """Take each step, and find no more memory in use after the last than after the second."""
    blocks: list[int] = []
    async for _ in steps:
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    assert len(blocks) == 10
    assert blocks[-1] - blocks[1] < 1_000, blocks


async def test_calls_leave_nothing_behind() -> None:
    broker = FakeBroker(twice)
    broker.keep = False
    made = client(broker)

    async def steps() -> AsyncIterator[None]:
        for start in range(0, 5_000, 500):
            results = await asyncio.gather(*(double.call(start + i) for i in range(500)))
            assert results == [2 * (start + i) for i in range(500)]
            assert len(made.replies) == 0
            del results
            yield

    await flat(steps())
    assert len(broker.inboxes) == 1


async def test_hundred_thousand_awaited_replies_leave_nothing_behind() -> None:
    """The inbox alone, which is where a call could leave something: a whole call takes ten times as long."""
    made = client()
    await made.replies.address(60)

    async def steps() -> AsyncIterator[None]:
        for start in range(0, 100_000, 10_000):
            for n in range(start, start + 10_000):
                pending = made.replies.expect(str(n), double.definition, 60)
                made.broker.inboxes[0].receive(Message(body=b"4", message_id="m", correlation_id=str(n)))
                assert await pending.wait_once() == 4
                if n % 100 == 0:
                    await asyncio.sleep(0)  # the loop clears its cancelled timers when it turns
            assert len(made.replies) == 0
            yield

    await flat(steps())


@pytest.mark.parametrize("ending", ["reply", "timeout", "cancellation", "publish"])
async def test_however_a_call_ends_nobody_waits_any_more(ending: str) -> None:
    broker = FakeBroker(twice if ending == "reply" else lambda _: None)
    if ending == "publish":
        broker.trouble = lambda out: PublishUnconfirmed("a message", 1)
    made = client(broker, reply_timeout_s=0.01 if ending == "timeout" else 60)
    calling = asyncio.create_task(double.call(1))
    await waits_for(made, 1)
    if ending == "cancellation":
        assert len(made.replies) == 1
        calling.cancel()
    await asyncio.wait([calling])
    assert calling.cancelled() or calling.result() == 2 if ending in ("cancellation", "reply") else calling.exception()
    assert len(made.replies) == 0


# Replies.


async def test_reply_that_overtakes_its_confirmation_is_kept() -> None:
    made = client()
    made.broker.gate.clear()
    calling = asyncio.create_task(double.call(4))
    await waits_for(made, 1)
    made.broker.reply(made.broker.published[0].message, Returned(b"8"))
    made.broker.gate.set()
    assert await calling == 8


async def test_late_repeated_and_unknown_replies_are_dropped_and_counted() -> None:
    made = client(reply_timeout_s=0.01)
    dropped: list[ReplyDropped] = []
    made.emitter.on(ReplyDropped, dropped.append)
    with pytest.raises(ResultTimeout):
        await double.call(1)
    late = made.broker.published[0].message
    made.broker.reply(late, Returned(b"2"))
    job = await double.with_options(reply_timeout=60).submit(2)
    message = made.broker.published[1].message
    made.broker.reply(message, Returned(b"4"))
    made.broker.reply(message, Returned(b"5"))
    made.broker.inboxes[0].receive(Message(body=b"1", message_id="x", correlation_id=None))
    assert await job.result() == 4
    assert [event.correlation_id for event in dropped] == [late.correlation_id, job.id, None]


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (
            Failed("timed-out", Failure("TimeoutError", "cut", "Trace")),
            TaskFailed,
            r"double \(timed-out\).*TimeoutError",
        ),
        (Expired(), JobExpired, "expired before a worker could run it"),
        (Cancelled(), JobCancelled, "was cancelled"),
        (Returned(b'"many"'), UndecodableMessage, "does not fit the return type"),
        (Returned(b"{"), UndecodableMessage, "does not fit the return type"),
    ],
)
async def test_each_reply_that_is_no_result_is_its_own_error_again_and_again(
    reply: Reply, error: type[Exception], says: str
) -> None:
    made = client(FakeBroker(lambda _: reply))
    with pytest.raises(error, match=says):
        await double.call(1)
    job = await double.submit(1)
    for _ in range(2):
        with pytest.raises(error, match=says) as caught:
            await job.result()
    assert len(made.replies) == 0
    if isinstance(caught.value, TaskFailed):
        assert (caught.value.job_id, caught.value.remote_type, caught.value.remote_message) == (
            job.id,
            "TimeoutError",
            "cut",
        )
        assert (caught.value.reason, caught.value.remote_traceback) == ("timed-out", "Trace")


async def test_reply_of_an_unknown_kind_ends_the_wait_with_an_error() -> None:
    made = client()
    calling = asyncio.create_task(double.call(1))
    await waits_for(made, 1)
    job_id = made.broker.published[0].message.correlation_id
    made.broker.inboxes[0].receive(Message(body=b"", message_id="x", type="hologram", correlation_id=job_id))
    with pytest.raises(UndecodableMessage, match="hologram"):
        await calling


async def test_inbox_is_opened_once_for_many_first_calls_and_never_for_enqueue() -> None:
    made = client(FakeBroker(twice))
    await double.enqueue(1)
    assert made.broker.inboxes == []
    assert await asyncio.gather(*(double.call(n) for n in range(20))) == [2 * n for n in range(20)]
    assert len(made.broker.inboxes) == 1


# result().


async def test_result_can_be_awaited_several_times_and_by_several_at_once() -> None:
    made = client()
    job = await double.submit(4)
    waits = [asyncio.create_task(job.result()) for _ in range(5)]
    await asyncio.sleep(0)
    made.broker.reply(made.broker.published[0].message, Returned(b"8"))
    assert await asyncio.gather(*waits) == [8] * 5
    assert await job.result() == await job.result(timeout=0) == 8


async def test_cancelled_wait_for_a_result_leaves_the_others_and_the_next_one_waiting() -> None:
    made = client()
    job = await double.submit(4)
    one, other = (asyncio.create_task(job.result()) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.wait([one])
    assert len(made.replies) == 1
    made.broker.reply(made.broker.published[0].message, Returned(b"8"))
    assert await other == await job.result() == 8


async def test_shorter_timeout_ends_one_wait_and_the_result_still_comes() -> None:
    made = client()
    job = await double.submit(4)
    with pytest.raises(ResultTimeout, match=r"no result within 0.01 s") as caught:
        await job.result(timeout=timedelta(milliseconds=10))
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(ResultTimeout, match=r"within 0 s"):
        await job.result(timeout=0)
    made.broker.reply(made.broker.published[0].message, Returned(b"8"))
    assert await job.result() == 8


async def test_longer_timeout_waits_beyond_the_reply_timeout() -> None:
    made = client(reply_timeout_s=0.02)
    job, other = await double.submit(4), await double.submit(5)
    waiting = asyncio.create_task(job.result(timeout=60))
    with pytest.raises(ResultTimeout):
        await other.result()  # sent after it, so that the reply timeout is over for both
    assert not waiting.done()
    made.broker.reply(made.broker.published[0].message, Returned(b"8"))
    assert await waiting == 8


async def test_result_that_nobody_awaits_in_its_time_is_not_kept() -> None:
    made = client(reply_timeout_s=0.01)
    job = await double.submit(4)
    await until(lambda: not len(made.replies))
    with pytest.raises(ResultTimeout, match=r"within 0.01 s"):
        await job.result(timeout=60)


async def test_closing_the_app_ends_every_wait_with_an_error_that_says_so() -> None:
    made = client()
    calling = asyncio.create_task(double.call(1))
    job = await double.submit(2)
    waiting = asyncio.create_task(job.result())
    await waits_for(made, 2)
    await made.replies.close()
    for wait in (calling, waiting):
        with pytest.raises(UsageError, match="closed before the result came"):
            await wait
    assert len(made.replies) == 0


# The inbox.


class SlowBroker(FakeBroker):
    """Its inboxes open when `there` is set, or fail with `error`."""

    def __init__(self) -> None:
        super().__init__(twice)
        self.there = asyncio.Event()
        self.error: Exception | None = None
        self.begun = 0

    async def open_inbox(self, receive: Callable[[Message], None]) -> FakeInbox:
        self.begun += 1
        if self.error is not None:
            raise self.error
        await self.there.wait()
        return await super().open_inbox(receive)


async def test_calls_wait_for_their_inbox_side_by_side_and_no_longer_than_for_their_results() -> None:
    broker = SlowBroker()
    client(broker)
    began = asyncio.get_running_loop().time()
    calls = [double.with_options(reply_timeout=0.1).call(n) for n in range(5)]
    patient = asyncio.create_task(double.with_options(reply_timeout=60).call(9))
    for error in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(error, BrokerUnreachable)
        assert "made no reply queue within 0.1 s, so nothing was sent" in str(error)
    assert asyncio.get_running_loop().time() - began < 0.3, "not one after the other"
    broker.there.set()
    assert await patient == 18
    assert (broker.begun, len(broker.published)) == (1, 1)


async def test_the_time_that_the_inbox_took_is_part_of_the_wait() -> None:
    broker = SlowBroker()
    broker.answer = lambda _: None
    client(broker)
    began = asyncio.get_running_loop().time()
    calling = asyncio.create_task(double.with_options(reply_timeout=0.5).call(1))
    asyncio.get_running_loop().call_later(0.3, broker.there.set)
    with pytest.raises(ResultTimeout, match=r"within 0\.5 s"):
        await calling
    assert asyncio.get_running_loop().time() - began < 0.7


async def test_a_cancelled_call_leaves_the_inbox_to_the_others() -> None:
    broker = SlowBroker()
    made = client(broker)
    first, other = (asyncio.create_task(double.call(n)) for n in (1, 2))
    await until(lambda: broker.begun)
    first.cancel()
    await asyncio.wait([first])
    broker.there.set()
    assert await other == 4
    assert (broker.begun, len(made.replies)) == (1, 0)


async def test_an_inbox_that_cannot_be_opened_fails_all_calls_and_the_next_tries_again() -> None:
    broker = SlowBroker()
    client(broker)
    broker.error = BrokerUnreachable("lost")
    errors = await asyncio.gather(*(double.call(n) for n in range(3)), return_exceptions=True)
    assert [type(error) for error in errors] == [BrokerUnreachable] * 3
    broker.error = None
    broker.there.set()
    assert await double.call(1) == 2
    assert broker.begun == 2


async def test_closing_the_app_ends_calls_whose_inbox_is_being_opened() -> None:
    broker = SlowBroker()
    made = client(broker)
    calling = asyncio.create_task(double.call(1))
    await until(lambda: broker.begun)
    await made.replies.close()
    for call in (calling, double.call(2)):
        with pytest.raises(UsageError, match="closed before the job was sent"):
            await call
    assert len(made.replies) == 0
