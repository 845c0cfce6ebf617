"""The way of a job over the broker in memory: retries, dead letters, what cannot be run, foreign messages."""

from typing import Any

import pytest

from taskq import (
    JobExpired,
    TaskFailed,
    TaskQ,
    lifecycle,
)
from taskq.lifecycle import (
    JobRetried,
    JobSnoozed,
    JobSucceeded,
)
from taskq.testing import Harness
from taskq.wire import headers as h
from taskq.wire.dead import DeadReason
from taskq.wire.ids import new_message_id
from taskq.wire.message import Message
from tests.support.kit import Kit, app, arrives, flaky, kit, noted, rejecting, runs, snoozing

__all__ = ["kit"]

# Retries and ends.


async def test_retry_chain_counts_attempts_and_tells_the_caller_at_its_end(kit: Kit) -> None:
    job = await flaky.submit(3)
    await kit.h.advance(60)
    assert await job.result() == 3
    assert runs == [(1, 1), (2, 2), (3, 3)]
    assert kit.kinds() == [JobRetried, JobRetried, JobSucceeded]
    retried = [e for e in kit.h.events if isinstance(e, JobRetried)]
    assert [(e.attempt, e.attempts, e.wait_s, e.error) for e in retried] == [
        (1, 3, 10, "ValueError: attempt 1 failed"),
        (2, 3, 10, "ValueError: attempt 2 failed"),
    ]
    assert kit.h.dead == []


async def test_a_backoff_waits_in_the_broker_and_holds_no_slot(kit: Kit) -> None:
    await flaky.enqueue(2)
    await kit.h.drain(timeout=5)  # of real time: the backoff takes 10 s of the test's clock, which stands still
    assert runs == [(1, 1)]
    assert [(state.delayed, state.unsettled) for state in await app.queues() if state.name == "default"] == [(1, 0)]


async def test_exhausted_job_is_a_dead_letter_that_names_all_of_it_and_the_caller_is_told(kit: Kit) -> None:
    began = kit.h.clock.now()
    job = await flaky.with_options(headers={"tenant": "acme"}).submit(9)
    await kit.h.advance(20)
    with pytest.raises(TaskFailed, match="attempt 3 failed") as caught:
        await job.result()
    (letter,) = kit.h.dead
    assert (letter.job_id, letter.task, letter.queue, letter.reason) == (job.id, "flaky", "default", "failed")
    assert (letter.attempt, letter.execution) == (3, 3)
    assert (letter.enqueued_at, letter.died_at) == (began, began + 20)
    assert (letter.failure.type, letter.failure.message) == ("ValueError", "attempt 3 failed")
    assert "kit.py" in letter.failure.traceback
    assert letter.message.body == b'{"succeeds_at":9}'
    assert letter.message.headers["tenant"] == "acme"
    assert (caught.value.reason, caught.value.remote_type) == ("failed", "ValueError")
    assert "kit.py" in caught.value.remote_traceback


async def test_dead_letter_that_is_put_back_begins_at_attempt_1_under_its_own_id(kit: Kit) -> None:
    job = await flaky.enqueue(9)
    await kit.h.advance(20)
    runs.clear()
    assert await app.dead_letters.retry("default", [job.id]) == 1
    await kit.h.drain()
    assert runs == [(1, 4)]
    assert kit.h.dead == []
    await kit.h.advance(20)
    (letter,) = kit.h.dead
    assert (letter.job_id, letter.attempt, letter.execution) == (job.id, 3, 6)


async def test_rejected_job_is_dead_at_once(kit: Kit) -> None:
    job = await rejecting.submit()
    with pytest.raises(TaskFailed, match="not for us") as caught:
        await job.result()
    await kit.h.drain()
    assert caught.value.reason == kit.h.dead[0].reason == DeadReason.REJECTED


async def test_snooze_keeps_the_attempt_and_counts_the_execution(kit: Kit) -> None:
    await snoozing.enqueue(3)
    await kit.h.advance(59)
    assert runs == [(1, 1), (1, 2)]
    await kit.h.advance(1)
    assert runs == [(1, 1), (1, 2), (1, 3)]
    assert kit.kinds() == [JobSnoozed, JobSnoozed, JobSucceeded]


async def test_snooze_beyond_the_expiry_expires_the_job_and_tells_the_caller(kit: Kit) -> None:
    job = await snoozing.with_options(expires=45).submit(9)
    await kit.h.advance(31)
    with pytest.raises(JobExpired):
        await job.result()
    assert runs == [(1, 1), (1, 2)]
    assert kit.kinds() == [JobSnoozed, lifecycle.JobExpired]


async def test_expired_job_is_not_run_and_the_caller_is_told(kit: Kit) -> None:
    job = await noted.with_options(at=None, delay=5, expires=10).submit(1)
    kit.h.clock.advance(10)
    with pytest.raises(JobExpired, match="expired before a worker could run it"):
        await job.result()
    await kit.h.drain()
    assert runs == []
    assert kit.kinds() == [lifecycle.JobExpired]
    assert kit.h.dead == []


# What cannot be run.


@pytest.mark.parametrize(
    ("changes", "reason", "says"),
    [
        ({"body": b"\xff\xfe"}, DeadReason.UNDECODABLE, "no JSON object"),
        ({"body": b"[1, 2]"}, DeadReason.UNDECODABLE, "no JSON object"),
        ({"headers": {h.VERSION: 99}}, DeadReason.UNDECODABLE, "wire version 99"),
        ({"headers": {h.VERSION: 1, h.ATTEMPT: "first"}}, DeadReason.UNDECODABLE, "taskq-attempt"),
        ({"type": "nobody.knows"}, DeadReason.UNKNOWN_TASK, "nobody.knows"),
        ({"type": None}, DeadReason.UNKNOWN_TASK, "names no task"),
        ({"body": b'{"n": "many"}'}, DeadReason.INVALID_ARGUMENTS, "n: "),
        ({"body": b"{}"}, DeadReason.INVALID_ARGUMENTS, "n: is required"),
    ],
)
async def test_message_that_cannot_be_run_is_a_dead_letter_and_its_sender_is_told(
    kit: Kit, changes: dict[str, Any], reason: DeadReason, says: str
) -> None:
    made: dict[str, Any] = {
        "body": b'{"n": 1}',
        "message_id": new_message_id(),
        "type": "noted",
        "correlation_id": "job-1",
        "reply_to": kit.reply_to,
        "headers": {h.VERSION: 1},
    }
    await kit.publish(Message(**(made | changes)))
    reply = await arrives(kit.replies)
    await kit.h.drain()
    (letter,) = kit.h.dead
    assert (letter.reason, letter.message.body) == (reason, (made | changes)["body"])
    assert says in letter.failure.message
    assert (reply.type, reply.correlation_id, reply.headers[h.DEAD_REASON]) == ("error", "job-1", reason)
    assert runs == []


async def test_unusable_messages_take_no_slot_with_them(kit: Kit) -> None:
    for n in range(30):
        await kit.publish(Message(body=b"\xff", message_id=str(n), type="noted"))
    job = await noted.submit(1)
    assert await job.result() == 1
    await kit.h.drain()
    assert len(kit.h.dead) == 30


async def test_result_that_cannot_be_written_is_a_dead_letter_only_where_a_caller_waits() -> None:
    own: TaskQ[Any] = TaskQ("own", max_message_bytes=2048)

    @own.task
    async def large() -> str:
        return "x" * 4096

    async with Harness(own) as harness:
        await large.enqueue()
        await harness.drain()
        assert harness.dead == []
        job = await large.submit()
        with pytest.raises(TaskFailed, match="4,098 bytes"):
            await job.result()
        await harness.drain()
        assert [letter.reason for letter in harness.dead] == [DeadReason.INVALID_RESULT]


# Foreign messages.


@pytest.mark.parametrize("body", [b"hello", b'"hello"', b'{"text": "hello"}'])
async def test_foreign_message_runs_the_default_task_and_is_answered_as_it_asks(kit: Kit, body: bytes) -> None:
    foreign = Message(body=body, message_id="", content_type=None, correlation_id="1", reply_to=kit.reply_to)
    await kit.publish(foreign, "texts")
    reply = await arrives(kit.replies)
    assert (reply.body, reply.correlation_id, reply.type) == (b'"HELLO"', "1", "result")
    assert runs == ["hello"]


async def test_number_as_the_amqp_tutorials_send_it(kit: Kit) -> None:
    await kit.publish(Message(body=b"15", message_id="m", correlation_id="1", reply_to=kit.reply_to), "numbers")
    assert (await arrives(kit.replies)).body == b"610"


async def test_foreign_jobs_may_share_a_correlation_id_and_have_job_ids_of_their_own(kit: Kit) -> None:
    for name in ("a", "b"):
        await kit.publish(Message(body=b"x", message_id=name, correlation_id="1", reply_to=kit.reply_to), "texts")
    await arrives(kit.replies, 2)
    await kit.h.drain()
    assert len({e.job_id for e in kit.h.events if isinstance(e, JobSucceeded)}) == 2


async def test_foreign_message_that_does_not_fit_is_dead_and_told(kit: Kit) -> None:
    await kit.publish(Message(body=b"many", message_id="m", correlation_id="1", reply_to=kit.reply_to), "numbers")
    reply = await arrives(kit.replies)
    await kit.h.drain()
    assert (reply.type, reply.headers[h.DEAD_REASON]) == ("error", "invalid-arguments")
    assert kit.h.dead[0].message.body == b"many"
