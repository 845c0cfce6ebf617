"""What is checked before a job is run."""

from datetime import datetime

import pytest

from taskq import Queue, Router
from taskq.wire import headers as h
from taskq.wire.dead import DeadReason
from taskq.wire.job import JobMessage
from taskq.wire.message import Message
from taskq.worker.outcome import Outcome, Overdue, Unusable
from taskq.worker.prepare import Catalogue, Prepared, prepare, read
from tests.support.jobs import NOW, FakeDelivery, catalogue, message

router = Router()


@router.task
async def work(when: datetime, times: int = 1) -> None: ...


@router.task(timeout=5)
async def quick() -> None: ...


@router.task
async def say(text: str) -> None: ...


KNOWN = catalogue(work, quick, say)


def checked(delivery: FakeDelivery, known: Catalogue = KNOWN, *, now: float = NOW) -> Prepared | Outcome:
    job = read(delivery)
    assert isinstance(job, JobMessage), job
    return prepare(job, delivery, known, now=now)


def unusable(outcome: Prepared | Outcome | JobMessage) -> Unusable:
    assert isinstance(outcome, Unusable), outcome
    return outcome


def foreign(body: bytes, **properties: str) -> FakeDelivery:
    return FakeDelivery(Message(body=body, message_id="m1", content_type=None, **properties))


def test_arguments_arrive_in_their_declared_types() -> None:
    ready = checked(FakeDelivery(message("work", b'{"when": "2026-03-01T10:00:00Z"}')))
    assert isinstance(ready, Prepared)
    assert isinstance(ready.arguments.kwargs["when"], datetime)
    assert (ready.definition.name, ready.timeout_s) == ("work", 60.0)


def test_time_limit_of_the_task_holds() -> None:
    ready = checked(FakeDelivery(message("quick")))
    assert isinstance(ready, Prepared)
    assert ready.timeout_s == 5.0


def test_newer_wire_version_is_undecodable_and_says_to_upgrade() -> None:
    newer = message("quick")
    outcome = unusable(read(FakeDelivery(newer._replace(headers={**newer.headers, h.VERSION: 99}))))
    assert outcome.reason is DeadReason.UNDECODABLE
    assert "upgrade" in outcome.failure.message


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_body_that_is_no_json_object_is_undecodable(body: bytes) -> None:
    assert unusable(checked(FakeDelivery(message("work", body)))).reason is DeadReason.UNDECODABLE


@pytest.mark.parametrize("body", [b"{}", b'{"when": "later"}', b'{"when": "2026-03-01T10:00:00Z", "colour": 1}'])
def test_arguments_that_do_not_fit_are_invalid_and_named(body: bytes) -> None:
    outcome = unusable(checked(FakeDelivery(message("work", body))))
    assert outcome.reason is DeadReason.INVALID_ARGUMENTS
    assert outcome.failure.type == "taskq.InvalidArguments"
    assert "when" in outcome.failure.message or "colour" in outcome.failure.message


def test_unknown_task_is_named_with_the_known_ones() -> None:
    outcome = unusable(checked(FakeDelivery(message("elsewhere"))))
    assert outcome.reason is DeadReason.UNKNOWN_TASK
    assert "'elsewhere'" in outcome.failure.message
    assert "quick, say, work" in outcome.failure.message


def test_expired_job_is_overdue_before_anything_else_is_looked_at() -> None:
    late = FakeDelivery(message("elsewhere", b"{", deadline=NOW))
    assert checked(late, now=NOW) == Overdue()
    assert unusable(checked(late, now=NOW - 0.001)).reason is DeadReason.UNKNOWN_TASK


@pytest.mark.parametrize(("redeliveries", "runs"), [(0, True), (2, True), (3, False), (4, False)])
def test_message_that_came_back_too_often_is_not_run_again(redeliveries: int, runs: bool) -> None:
    known = catalogue(quick, queue=Queue("default", delivery_limit=3))
    outcome = checked(FakeDelivery(message("quick"), redeliveries=redeliveries), known)
    assert isinstance(outcome, Prepared) is runs
    if not runs:
        assert unusable(outcome).reason is DeadReason.DELIVERY_LIMIT
        assert str(redeliveries) in unusable(outcome).failure.message


def test_foreign_message_on_a_queue_without_a_default_task_says_so() -> None:
    outcome = unusable(checked(foreign(b"hello")))
    assert outcome.reason is DeadReason.UNKNOWN_TASK
    assert outcome.failure.type == "taskq.UnknownTask"
    assert "default task" in outcome.failure.message


@pytest.mark.parametrize(
    ("body", "text"), [(b"hello", "hello"), (b'"hello"', "hello"), (b'{"text": "hello"}', "hello")]
)
def test_foreign_message_goes_to_the_default_task_as_text_value_or_object(body: bytes, text: str) -> None:
    ready = checked(foreign(body), catalogue(say, queue=Queue("default", default=say)))
    assert isinstance(ready, Prepared), ready
    assert ready.arguments.kwargs == {"text": text}


def test_default_task_may_be_one_that_this_worker_does_not_know() -> None:
    outcome = unusable(checked(foreign(b"x"), catalogue(work, queue=Queue("default", default="gone"))))
    assert outcome.reason is DeadReason.UNKNOWN_TASK
    assert "'gone'" in outcome.failure.message
