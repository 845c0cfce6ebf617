"""The messages that replace a delivery, for each verdict, and the event that tells of it."""

import json

import pytest

from taskq.broker.protocol import Outgoing
from taskq.lifecycle import JobDead, JobExpired, JobHandedBack, JobRetried, JobSnoozed, JobSucceeded
from taskq.wire import headers as h
from taskq.wire.dead import DeadReason, read_dead_letter
from taskq.wire.failure import Failure
from taskq.wire.job import read_job
from taskq.wire.message import Message
from taskq.wire.reply import Expired, Failed, Returned, read_reply
from taskq.worker.settle import identify, replacements
from taskq.worker.tell import Ended, ended_event
from taskq.worker.verdict import Bury, Complete, HandBack, LetExpire, PutOff, TryAgain, Verdict
from tests.support.jobs import JOB_ID, NOW, REPLY_TO, FakeDelivery, message

FAILURE = Failure("ValueError", "no", "Traceback …")
AGAIN = TryAgain(at=NOW + 10, wait_s=10, attempt=3, attempts=5, error="ValueError: no")
VERDICTS: tuple[Verdict, ...] = (
    Complete(b"1"),
    AGAIN,
    PutOff(NOW + 10, 10),
    HandBack(),
    Bury(DeadReason.FAILED, FAILURE),
    LetExpire(),
)


def settled(verdict: Verdict, delivery: FakeDelivery) -> list[Outgoing]:
    job = read_job(delivery.message, delivery.queue)
    return list(replacements(verdict, delivery, job, job_id=identify(delivery, job), now=NOW))


def second_attempt(*, reply_to: str | None = REPLY_TO, redeliveries: int = 0) -> FakeDelivery:
    made = message(attempt=2, execution=4, reply_to=reply_to, priority=7, deadline=NOW + 500)
    return FakeDelivery(made, redeliveries=redeliveries)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_message_that_replaces_a_delivery_has_an_id_of_its_own(verdict: Verdict) -> None:
    delivery = second_attempt()
    ids = [out.message.message_id for out in settled(verdict, delivery)]
    assert len({*ids, delivery.message.message_id}) == len(ids) + 1


def test_result_goes_to_the_caller_who_may_be_gone() -> None:
    (reply,) = settled(Complete(b'{"a": 1}'), second_attempt())
    assert (reply.queue, reply.mandatory, reply.not_before) == (REPLY_TO, False, None)
    assert reply.message.correlation_id == JOB_ID
    assert read_reply(reply.message) == Returned(b'{"a": 1}')


@pytest.mark.parametrize("verdict", [Complete(None), Complete(b"1"), LetExpire()])
def test_without_a_caller_there_is_nobody_to_tell(verdict: Verdict) -> None:
    assert settled(verdict, second_attempt(reply_to=None)) == []
    assert settled(verdict, second_attempt(reply_to="")) == []


def test_retry_copy_waits_in_the_broker_under_the_next_attempt_number() -> None:
    (copy,) = settled(AGAIN, second_attempt(redeliveries=2))
    assert (copy.queue, copy.not_before, copy.mandatory) == ("default", NOW + 10, True)
    again = read_job(copy.message, "default")
    assert (again.job_id, again.attempt, again.execution) == (JOB_ID, 3, 7)
    assert (copy.message.reply_to, copy.message.priority, again.deadline) == (REPLY_TO, 7, NOW + 500)
    assert copy.message.headers["tenant"] == "acme"
    assert copy.message.headers[h.ERROR] == "ValueError: no"


def test_retry_that_is_due_already_does_not_wait() -> None:
    (copy,) = settled(TryAgain(at=NOW, wait_s=0, attempt=3, attempts=5, error="x"), second_attempt())
    assert copy.not_before is None


@pytest.mark.parametrize(("verdict", "eta"), [(PutOff(NOW + 10, 10), NOW + 10), (HandBack(), None)])
def test_snoozed_and_handed_back_jobs_keep_their_attempt_number(verdict: Verdict, eta: float | None) -> None:
    (copy,) = settled(verdict, second_attempt(redeliveries=1))
    again = read_job(copy.message, "default")
    assert (copy.queue, copy.not_before, again.attempt, again.execution) == ("default", eta, 2, 6)
    assert (h.ETA in copy.message.headers) == (eta is not None)


def test_dead_letter_and_error_reply_stand_together() -> None:
    reply, letter = settled(Bury(DeadReason.TIMED_OUT, FAILURE), second_attempt(redeliveries=1))
    assert read_reply(reply.message) == Failed("timed-out", FAILURE)
    assert (letter.queue, letter.mandatory) == ("default.dead", True)
    kept = read_dead_letter(letter.message, "default")
    assert (kept.job_id, kept.reason, kept.failure) == (JOB_ID, "timed-out", FAILURE)
    assert (kept.attempt, kept.execution, kept.died_at, kept.task) == (2, 5, NOW, "work")


def test_expiry_is_told_to_the_caller_and_leaves_no_dead_letter() -> None:
    (reply,) = settled(LetExpire(), second_attempt())
    assert read_reply(reply.message) == Expired()


def test_message_that_could_not_be_read_is_kept_as_it_was_and_its_sender_told() -> None:
    alien = Message(
        body=b"\x00\x01", message_id="m", reply_to="answers", correlation_id="1", headers={h.VERSION: "x", "own": 1}
    )
    delivery = FakeDelivery(alien)
    job_id = identify(delivery, None)
    reply, letter = replacements(Bury(DeadReason.UNDECODABLE, FAILURE), delivery, None, job_id=job_id, now=NOW)
    assert (reply.queue, reply.message.correlation_id) == ("answers", "1")
    assert (letter.message.body, letter.message.headers["own"]) == (b"\x00\x01", 1)
    assert read_dead_letter(letter.message, "default").job_id == job_id


def test_reply_to_a_foreign_caller_carries_its_own_correlation_id() -> None:
    delivery = FakeDelivery(Message(body=b"30", message_id="m", reply_to="answers", correlation_id="1"))
    (reply,) = settled(Complete(b"832040"), delivery)
    assert (reply.queue, reply.message.correlation_id, json.loads(reply.message.body)) == ("answers", "1", 832040)


def test_each_verdict_has_its_event() -> None:
    ended = Ended(job_id=JOB_ID, task="work", queue="default", attempt=2, execution=4, duration_s=0.5)
    events = [ended_event(verdict, ended, replied=True) for verdict in VERDICTS]
    assert [type(event) for event in events] == [
        JobSucceeded,
        JobRetried,
        JobSnoozed,
        JobHandedBack,
        JobDead,
        JobExpired,
    ]
    assert all((e.job_id, e.attempt, e.execution, e.duration_s) == (JOB_ID, 2, 4, 0.5) for e in events)
    retried, dead = events[1], events[4]
    assert isinstance(retried, JobRetried)
    assert isinstance(dead, JobDead)
    assert (retried.attempts, retried.wait_s, retried.error) == (5, 10, "ValueError: no")
    assert (dead.reason, dead.error, dead.traceback) == ("failed", "ValueError: no", "Traceback …")
