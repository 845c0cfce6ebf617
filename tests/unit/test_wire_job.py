"""Jobs on the wire: the first message, reading it, and the copies that replace it."""

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.errors import UndecodableMessage
from taskq.wire import headers as h
from taskq.wire.ids import derived_job_id, new_job_id, new_message_id
from taskq.wire.job import JobMessage, job_id_of, millis, new_job, read_job
from taskq.wire.message import Message

NOW = 1_800_000_000.25


def job(**changes: Any) -> Message:
    fields: dict[str, Any] = {"task": "resize", "job_id": "j1", "queue": "images", "body": b"{}", "now": NOW}
    return new_job(**fields | changes)


def foreign(**changes: Any) -> Message:
    fields: dict[str, Any] = {"body": b"30", "message_id": "m1", "content_type": None}
    return Message(**fields | changes)


def test_first_message_says_all_that_the_wire_format_lists() -> None:
    message = job(
        app_id="shop", priority=5, reply_to="taskq.reply.x", deadline=NOW + 60, eta=NOW + 5, headers={"tenant": "a"}
    )
    assert message.message_id
    assert message == Message(
        body=b"{}",
        message_id=message.message_id,
        type="resize",
        correlation_id="j1",
        reply_to="taskq.reply.x",
        content_type="application/json",
        timestamp=1_800_000_000,
        app_id="shop",
        priority=5,
        headers={
            "tenant": "a",
            "taskq-version": 1,
            "taskq-attempt": 1,
            "taskq-execution": 1,
            "taskq-queue": "images",
            "taskq-enqueued-at": 1_800_000_000_250,
            "taskq-deadline": 1_800_000_060_250,
            "taskq-eta": 1_800_000_005_250,
        },
    )


def test_own_headers_never_replace_those_of_taskq() -> None:
    assert job(headers={"taskq-attempt": 9}).headers["taskq-attempt"] == 1


def test_job_is_read_as_it_was_written() -> None:
    message = job(deadline=NOW + 60)
    read = read_job(message, "images")
    assert read == JobMessage(
        message=message,
        task="resize",
        job_id="j1",
        attempt=1,
        execution=1,
        queue="images",
        enqueued_at=NOW,
        deadline=NOW + 60,
    )
    assert not read.foreign
    assert not read.is_expired(NOW + 59.999)
    assert read.is_expired(NOW + 60)
    assert not read_job(job(), "images").is_expired(NOW + 1e9)


def test_copy_replaces_the_delivery_under_a_new_message_id() -> None:
    first = job(reply_to="r", priority=3, app_id="shop", deadline=NOW + 60, headers={"tenant": "a", "traceparent": "t"})
    copy = read_job(first, "images").copy(attempt=2, execution=3, eta=NOW + 5, error="ValueError: no")
    assert copy.message_id != first.message_id
    assert copy.headers == {
        **first.headers,
        h.ATTEMPT: 2,
        h.EXECUTION: 3,
        h.ETA: millis(NOW + 5),
        h.ERROR: "ValueError: no",
    }
    assert copy._replace(message_id=first.message_id, headers=first.headers) == first
    read = read_job(copy, "images")
    assert (read.job_id, read.attempt, read.execution, read.deadline) == ("j1", 2, 3, NOW + 60)


def test_copy_forgets_the_last_eta_and_keeps_the_last_error() -> None:
    once = read_job(job(), "images").copy(attempt=2, execution=2, eta=NOW + 5, error="first")
    twice = read_job(once, "images").copy(attempt=2, execution=3)
    assert h.ETA not in twice.headers
    assert twice.headers[h.ERROR] == "first"


def test_copy_leaves_out_what_the_broker_and_the_sender_of_copies_added() -> None:
    added = {
        "x-death": [{"count": 1}], "x-first-death-queue": "q", "x-first-death-reason": "r", "x-last-death-exchange": "",
        "x-delivery-count": 3, "x-acquired-count": 2, "CC": ["a"], "BCC": ["b"],
    }  # fmt: skip
    message = job(headers={"tenant": "a", "x-own": "stays"})._replace(headers=job().headers | added | {"tenant": "a"})
    copy = read_job(message, "images").copy(attempt=2, execution=2)
    assert not set(copy.headers) & set(added)
    assert copy.headers["tenant"] == "a"


def test_last_error_is_cut() -> None:
    copy = read_job(job(), "images").copy(attempt=2, execution=2, error="é" * 10_000)
    assert len(str(copy.headers[h.ERROR]).encode()) <= 400


def test_users_headers_are_those_that_the_caller_set() -> None:
    headers = {"tenant": "a", "n": 1, "x-death": [], "taskq-attempt": 1, "traceparent": "t", "CC": "c", "odd": [1]}
    assert h.users(headers) == {"tenant": "a", "n": 1}


# foreign messages


def test_foreign_message_is_read_with_the_defaults() -> None:
    read = read_job(foreign(correlation_id="1", reply_to="amq.gen-x"), "rpc_queue")
    assert read.foreign
    assert (read.task, read.attempt, read.execution, read.enqueued_at, read.deadline) == (None, 1, 1, None, None)
    assert read.job_id == derived_job_id("m1")


def test_foreign_message_keeps_its_correlation_id_and_its_job_id_over_copies() -> None:
    first = read_job(foreign(correlation_id="1"), "rpc_queue")
    second = read_job(first.copy(attempt=2, execution=2), "rpc_queue")
    third = read_job(second.copy(attempt=3, execution=3), "rpc_queue")
    assert third.message.correlation_id == "1"
    assert first.job_id == second.job_id == third.job_id
    assert third.attempt == 3
    assert second.foreign
    assert third.foreign


def test_foreign_message_without_any_id_gets_a_job_id_that_its_copies_keep() -> None:
    message = foreign(message_id="")
    assert job_id_of(message) != job_id_of(message)
    read = read_job(message, "rpc_queue")
    assert read_job(read.copy(attempt=2, execution=2), "rpc_queue").job_id == read.job_id


def test_foreign_message_may_name_a_task() -> None:
    read = read_job(foreign(type="fib", correlation_id="1"), "q")
    assert (read.task, read.foreign, read.job_id) == ("fib", False, derived_job_id("m1"))
    assert read_job(foreign(type=""), "q").task is None


@pytest.mark.parametrize("own", ["", "x" * 129, "a\nb", "\ud800", 5, None, ["j1"]])
def test_job_id_that_cannot_be_one_is_not_taken(own: Any) -> None:
    assert job_id_of(foreign(headers={h.JOB_ID: own})) == derived_job_id("m1")
    assert job_id_of(foreign(headers={h.VERSION: 1}, correlation_id=own)) == derived_job_id("m1")


def test_derived_job_id_is_the_same_for_the_same_message() -> None:
    assert derived_job_id("a") == derived_job_id("a") != derived_job_id("b")
    assert uuid.UUID(derived_job_id("\ud800"))


# hostile headers


@pytest.mark.parametrize("name", [h.VERSION, h.ATTEMPT, h.EXECUTION])
@pytest.mark.parametrize(
    "value",
    ["1", 1.0, True, None, [], {}, b"1", 0, -1, 2**63, pytest.param(10**5000, id="huge")],
)
def test_number_that_is_none_is_undecodable(name: str, value: Any) -> None:
    with pytest.raises(UndecodableMessage, match=f"header {name} is") as caught:
        read_job(job()._replace(headers={name: value}), "images")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", [h.ENQUEUED_AT, h.DEADLINE])
@pytest.mark.parametrize("value", ["soon", 1.5, True, None, -1, 253_402_300_800_000, 2**62])
def test_instant_that_is_none_is_undecodable(name: str, value: Any) -> None:
    with pytest.raises(UndecodableMessage, match=f"header {name} is"):
        read_job(job()._replace(headers={name: value}), "images")


def test_newer_version_is_undecodable_and_says_to_upgrade() -> None:
    with pytest.raises(UndecodableMessage, match="wire version 2, this program reads up to 1; upgrade the worker"):
        read_job(job()._replace(headers={h.VERSION: 2}), "images")


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9)
header_values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner), max_leaves=5
)
header_names = st.sampled_from(
    [h.VERSION, h.ATTEMPT, h.EXECUTION, h.QUEUE, h.ENQUEUED_AT, h.DEADLINE, h.ETA, h.ERROR, h.JOB_ID, h.DEAD_REASON,
     h.DEAD_AT, h.ERROR_TYPE, h.ERROR_MESSAGE, h.ERROR_TRACEBACK, "x-death", "CC"]
) | st.text(max_size=9)  # fmt: skip
hostile_messages = st.builds(
    Message,
    body=st.binary(max_size=20),
    message_id=st.text(max_size=9),
    type=st.none() | st.text(max_size=9),
    correlation_id=st.none() | st.text(max_size=9),
    headers=st.dictionaries(header_names, header_values, max_size=6),
)


@given(message=hostile_messages)
def test_hostile_headers_raise_only_undecodable(message: Message) -> None:
    assert job_id_of(message)
    assert h.size_of(message.headers) >= 0
    assert set(h.users(message.headers)) <= set(message.headers)
    try:
        read = read_job(message, "q")
    except UndecodableMessage:
        return
    again = read_job(read.copy(attempt=2, execution=2, error="no"), "q")
    assert (again.job_id, again.attempt, again.deadline) == (read.job_id, 2, read.deadline)


# ids and times


def test_job_ids_are_uuid7_and_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for milliseconds in (0, 1, 1_700_000_000_000, 1_700_000_000_001, 1_800_000_000_000, 2**48 - 1):
        monkeypatch.setattr("taskq.wire.ids.time.time_ns", lambda at=milliseconds: at * 1_000_000)
        made.append(new_job_id())
    assert made == sorted(made)
    for text in made:
        value = uuid.UUID(text)
        assert (value.version, value.variant) == (7, uuid.RFC_4122)
        assert str(value) == text
    assert uuid.UUID(made[3]).int >> 80 == 1_700_000_000_001


def test_ids_do_not_repeat() -> None:
    assert len({new_job_id() for _ in range(10_000)}) == 10_000
    assert len({new_message_id() for _ in range(10_000)}) == 10_000
    assert len(new_message_id()) == 32


@given(instant=st.floats(0, 4e9))
def test_milliseconds_are_never_before_the_instant(instant: float) -> None:
    assert instant <= millis(instant) / 1000 < instant + 0.0011
