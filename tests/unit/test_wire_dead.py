"""Dead letters: written, read, put back; and those that taskq did not write."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from taskq.wire import headers as h
from taskq.wire.dead import DeadReason, new_dead_letter, read_dead_letter, revived
from taskq.wire.failure import Failure
from taskq.wire.ids import derived_job_id
from taskq.wire.job import job_id_of, new_job, read_job
from taskq.wire.message import Message, check_size
from tests.unit.test_wire_job import NOW, hostile_messages

WHEN = datetime(2026, 11, 24, 12, tzinfo=UTC)
FAILURE = Failure("ValueError", "no such\nurl", "Traceback …")
JOB = new_job(
    task="resize", job_id="j1", queue="images", body=b'{"url":"u"}', now=NOW, reply_to="r", priority=3,
    deadline=NOW + 60, eta=NOW + 1, headers={"tenant": "a", "x-own": 1},
)  # fmt: skip


def bury(message: Message, **changes: Any) -> Message:
    fields: dict[str, Any] = {
        "job_id": job_id_of(message), "queue": "images", "reason": DeadReason.FAILED, "failure": FAILURE,
        "attempt": 3, "execution": 4, "now": NOW + 9,
    }  # fmt: skip
    return new_dead_letter(message, **fields | changes)


def test_dead_letter_keeps_the_message_and_says_why_and_when_it_died() -> None:
    letter = bury(JOB)
    assert letter.message_id != JOB.message_id
    assert letter._replace(message_id=JOB.message_id, headers=JOB.headers) == JOB
    read = read_dead_letter(letter, "images")
    assert read.message is letter
    assert (read.job_id, read.task, read.queue, read.reason) == ("j1", "resize", "images", "failed")
    assert read.failure == FAILURE
    assert (read.attempt, read.execution) == (3, 4)
    assert (read.enqueued_at, read.died_at) == (NOW, NOW + 9)
    assert letter.headers["tenant"] == "a"
    assert h.ETA not in letter.headers


@pytest.mark.parametrize("reason", DeadReason)
def test_reason_travels_as_its_word(reason: DeadReason) -> None:
    letter = bury(JOB, reason=reason)
    assert type(letter.headers[h.DEAD_REASON]) is str
    assert read_dead_letter(letter, "images").reason == reason


def test_revived_job_starts_again_at_attempt_one_without_expiry() -> None:
    message = revived(read_dead_letter(bury(JOB), "images"))
    job = read_job(message, "images")
    assert (job.job_id, job.task, job.attempt, job.execution) == ("j1", "resize", 1, 5)
    assert (job.deadline, job.enqueued_at) == (None, NOW)
    assert (message.body, message.reply_to, message.priority) == (JOB.body, "r", 3)
    assert message.headers[h.ERROR] == "ValueError: no such url"
    assert message.headers["tenant"] == "a"
    assert not {h.DEAD_REASON, h.DEAD_AT, h.ERROR_TYPE, h.ERROR_MESSAGE, h.ERROR_TRACEBACK, h.ETA} & set(
        message.headers
    )


def test_job_may_die_and_come_back_many_times() -> None:
    message = JOB
    for deaths in range(1, 6):
        message = revived(read_dead_letter(bury(message, execution=deaths), "images"))
        job = read_job(message, "images")
        assert (job.job_id, job.attempt, job.execution) == ("j1", 1, deaths + 1)
    assert set(message.headers) == (set(JOB.headers) | {h.ERROR, h.JOB_ID}) - {h.ETA, h.DEADLINE}


# letters that the broker moved by itself, and foreign ones


def moved(*deaths: object, **further: Any) -> Message:
    """Return JOB as a broker moved it that says these deaths, the last one first."""
    return JOB._replace(headers=JOB.headers | {"x-death": list(deaths)} | further)


def death(reason: object, queue: object = "images", time: object = WHEN) -> dict[str, object]:
    """Return what RabbitMQ says of a death."""
    return {
        "reason": reason, "count": 1, "queue": queue, "exchange": "", "routing-keys": ["images"], "time": time,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("brokers", "ours"),
    [
        ("delivery_limit", "delivery-limit"),
        ("expired", "expired in its queue"),
        ("maxlen", "its queue was full"),
        ("rejected", "rejected by a consumer"),
        ("a word of tomorrow", "a word of tomorrow"),
        (None, "delivery-limit"),
        (b"\xff", "delivery-limit"),
    ],
)
def test_letter_that_the_broker_moved_is_read_from_what_the_broker_says(brokers: object, ours: str) -> None:
    read = read_dead_letter(moved(death(brokers)), "images")
    assert (read.reason, read.queue, read.died_at) == (ours, "images", WHEN.timestamp())
    assert (read.failure, read.job_id, read.attempt) == (Failure("", "", ""), "j1", 1)


def test_letter_of_which_the_broker_says_nothing_died_of_the_delivery_limit() -> None:
    read = read_dead_letter(JOB, "images")
    assert (read.reason, read.queue, read.died_at) == ("delivery-limit", "images", None)


def test_delay_that_ended_before_the_death_is_not_taken_for_it() -> None:
    ladder = [death("expired", f"taskq.delay.50x28.{level}", WHEN - timedelta(hours=1)) for level in range(3)]
    for deaths in ([death("delivery_limit"), *ladder], [*ladder, death("delivery_limit")]):
        read = read_dead_letter(moved(*deaths), "images")
        assert (read.reason, read.queue, read.died_at) == ("delivery-limit", "images", WHEN.timestamp())


def test_letter_that_died_in_another_queue_says_which() -> None:
    read = read_dead_letter(moved(death("maxlen", "theirs"), death("expired", "before")), "images")
    assert (read.reason, read.queue) == ("its queue was full", "theirs")


def test_record_of_ours_goes_before_what_a_broker_said() -> None:
    letter = bury(JOB)
    read = read_dead_letter(
        letter._replace(headers={**letter.headers, "x-death": [death("expired", "before")]}), "images"
    )
    assert (read.reason, read.queue, read.died_at) == ("failed", "images", NOW + 9)


@pytest.mark.parametrize(
    ("time", "died_at"),
    [
        (WHEN, WHEN.timestamp()),
        (int(WHEN.timestamp()), WHEN.timestamp()),
        (2**63, None),
        (-(2**63), None),
        (True, None),
        ("noon", None),
        (datetime(1, 1, 1), None),  # without a zone, and before its first day in some
    ],
)
def test_time_of_a_death_is_seconds_or_not_known(time: object, died_at: float | None) -> None:
    assert read_dead_letter(moved(death("expired", time=time)), "images").died_at == died_at


@pytest.mark.parametrize("said", ["text", 7, [], [[]], ["text"], {}, [{"reason": {}}]])
def test_odd_word_of_a_broker_is_no_error(said: object) -> None:
    read = read_dead_letter(JOB._replace(headers=JOB.headers | {"x-death": said}), "images")
    assert (read.reason, read.queue, read.died_at) == ("delivery-limit", "images", None)


def test_letter_that_the_broker_moved_goes_back_without_what_the_broker_said() -> None:
    of_broker = {
        "x-delivery-count": 20, "x-acquired-count": 20, "x-first-death-reason": "expired", "x-first-death-queue": "q",
        "x-first-death-exchange": "", "x-last-death-reason": "delivery_limit", "x-last-death-queue": "images",
        "x-last-death-exchange": "",
    }  # fmt: skip
    message = revived(read_dead_letter(moved(death("delivery_limit"), **of_broker), "images"))
    assert [name for name in message.headers if name.startswith("x-")] == ["x-own"]
    assert h.ERROR not in message.headers
    assert read_job(message, "images").job_id == "j1"


def test_foreign_message_keeps_its_job_id_through_death_and_revival() -> None:
    foreign = Message(body=b"30", message_id="m1", correlation_id="1", reply_to="amq.gen-x")
    for letter in (foreign, bury(foreign), bury(foreign, job_id=derived_job_id("m1"))):
        read = read_dead_letter(letter, "rpc")
        message = revived(read)
        assert read.job_id == read_job(message, "rpc").job_id == derived_job_id("m1")
        assert message.correlation_id == "1"
        assert read_job(message, "rpc").foreign


def test_foreign_message_without_ids_is_named_by_its_record() -> None:
    letter = bury(Message(body=b"\xff", message_id=""), job_id="new-1")
    assert read_dead_letter(letter, "rpc").job_id == "new-1"


@given(message=hostile_messages)
def test_any_message_can_be_buried_shown_and_put_back(message: Message) -> None:
    shown = read_dead_letter(message, "q")
    assert shown.job_id
    assert revived(shown).headers[h.JOB_ID] == shown.job_id
    letter = bury(message, job_id="j9")
    assert h.size_of(letter.headers) <= h.LARGEST_HEADERS
    again = read_dead_letter(letter, "q")
    assert (again.job_id, again.attempt, again.execution, again.failure) == ("j9", 3, 4, FAILURE)
    assert again.message.body == message.body


HUGE = {f"h{i}": "x" * 1000 for i in range(200)}


@pytest.mark.parametrize(
    "headers",
    [
        HUGE,
        {"taskq-own": "x" * 100_000},
        {h.ERROR: "x" * 100_000},
        {h.DEADLINE: "x" * 100_000, h.VERSION: [0] * 10_000},
        {"x": b"x" * 100_000},
        {"x": [{"y": "x" * 100_000}]},
    ],
    ids=["many", "ours", "error", "odd", "bytes", "nested"],
)  # fmt: skip
def test_headers_that_leave_no_room_for_the_record_give_way_to_it(headers: dict[str, Any]) -> None:
    failure = Failure("é" * 9_999, "é" * 99_999, "é" * 99_999)
    letter = bury(JOB._replace(headers=JOB.headers | headers), failure=failure)
    assert h.size_of(letter.headers) <= h.LARGEST_HEADERS
    read = read_dead_letter(letter, "images")
    assert (read.job_id, read.reason, read.failure) == ("j1", "failed", failure.fitted())
    assert read.enqueued_at == NOW


def test_largest_headers_of_a_caller_stay_whatever_the_error_and_come_back_with_the_job() -> None:
    job = new_job(
        task="resize", job_id="j" * 128, queue="q" * 180, body=b"{}", now=NOW, deadline=NOW + 60, headers={"own": ""}
    )  # fmt: skip
    own = "x" * (h.LARGEST_SENT - h.size_of(job.headers))
    job = job._replace(headers=job.headers | {"own": own})
    check_size(job, 10**6, "it")
    last = read_job(job, "q" * 180).copy(attempt=3, execution=2**40, eta=NOW + 9, error="é" * 9_999)
    assert h.size_of(last.headers) <= h.LARGEST_HEADERS
    failure = Failure("é" * 9_999, "é" * 9_999, "é" * 99_999)
    letter = bury(last, queue="q" * 180, execution=2**40, failure=failure)
    assert h.size_of(letter.headers) <= h.LARGEST_HEADERS
    read = read_dead_letter(letter, "q" * 180)
    assert letter.headers["own"] == own
    assert len(read.failure.message.encode()) >= 400
    assert revived(read).headers["own"] == own


def test_traceback_gives_way_before_the_message() -> None:
    letter = bury(
        JOB._replace(headers=JOB.headers | {"own": "x" * 9_000}), failure=Failure("E", "m" * 1_000, "t" * 8_000)
    )
    failure = read_dead_letter(letter, "images").failure
    assert failure.message == "m" * 1_000
    assert 4_000 < len(failure.traceback.encode()) < 8_000
    assert h.size_of(letter.headers) == h.LARGEST_HEADERS


def test_failure_is_cut_to_the_budgets_of_the_wire() -> None:
    letter = bury(JOB, failure=Failure("x" * 999, "y" * 9_999, "z" * 99_999))
    sizes = [len(str(letter.headers[name]).encode()) for name in (h.ERROR_TYPE, h.ERROR_MESSAGE, h.ERROR_TRACEBACK)]
    assert sizes <= [200, 2_000, 8_000]
    assert letter.headers["tenant"] == "a"
