"""Budgets and sizes: what is cut, what is counted, what is refused before it is sent; and errors as text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.errors import MessageTooLarge
from taskq.wire import headers as h
from taskq.wire.failure import MESSAGE_BYTES, TRACEBACK_BYTES, TYPE_BYTES, Failure, describe
from taskq.wire.message import Message, check_size


@given(value=st.text(), times=st.integers(1, 50), largest=st.integers(0, 300))
def test_cut_text_is_never_above_its_budget(value: str, times: int, largest: int) -> None:
    text = value * times
    result = h.cut(text, largest)
    assert len(result.encode()) <= largest
    if len(text.encode(errors="replace")) <= largest:
        assert result == text.encode(errors="replace").decode()


def test_cut_keeps_both_ends_and_marks_the_middle() -> None:
    result = h.cut("start" + "x" * 1000 + "end", 60)
    assert result.startswith("start")
    assert result.endswith("end")
    assert "\n…\n" in result
    assert len(result.encode()) == 60


def test_cut_never_splits_a_character() -> None:
    for largest in range(16, 64):
        assert set(h.cut("€" * 100, largest)) == {"€", "\n", "…"}


@given(headers=st.dictionaries(st.text(), st.text() | st.integers() | st.floats() | st.booleans() | st.binary()))
def test_size_counts_at_least_the_bytes_of_names_and_values(headers: dict[str, Any]) -> None:
    least = sum(
        len(name.encode(errors="replace"))
        + (
            len(value.encode(errors="replace"))
            if isinstance(value, str)
            else len(value)
            if isinstance(value, bytes)
            else 8
        )
        for name, value in headers.items()
    )
    assert h.size_of(headers) >= least


def test_size_looks_into_tables_and_lists() -> None:
    assert h.size_of({"x-death": [{"queue": "q" * 5000}]}) > 5000
    assert h.size_of({}) == 0


def test_a_copy_leaves_out_what_asked_for_copies_and_tells_of_the_way() -> None:
    brokers = dict.fromkeys(("x-death", "x-first-death-queue", "x-last-death-reason", "x-delivery-count"), 1)
    assert h.for_copy({**brokers, "CC": ["q"], "BCC": ["q"], "x-own": 1, h.ATTEMPT: 2}) == {"x-own": 1, h.ATTEMPT: 2}


def test_a_copy_of_a_message_with_too_large_headers_keeps_ours_alone() -> None:
    large: dict[str, Any] = {f"their-{n}": "x" * 100 for n in range(1000)}
    own: dict[str, Any] = {h.ATTEMPT: 2, h.JOB_ID: "a" * 128, h.KEY: "k" * 255, h.DEADLINE: 5}
    false: dict[str, Any] = {h.ETA: "soon", h.QUEUE: "q" * 20_000, "taskq-foreign": 1}
    assert h.for_copy({**large, **own, **false}) == own
    assert h.users(large) == large, "the first attempt sees them"
    small = {"their": "x" * (h.LARGEST_HEADERS - 100), **own}
    assert h.for_copy({"their": "x" * 15_000, **own}) == {"their": "x" * 15_000, **own}
    assert h.for_copy(small) == own


def message(body: bytes = b"", **headers: Any) -> Message:
    return Message(body=body, message_id="m", headers=headers)


def test_size_is_checked_to_the_byte() -> None:
    fits = message(b"x" * 100, tenant="a")
    check_size(fits, fits.size, "the call of resize")
    with pytest.raises(MessageTooLarge, match="the call of resize has") as caught:
        check_size(fits, fits.size - 1, "the call of resize")
    assert (caught.value.size, caught.value.limit) == (fits.size, fits.size - 1)


def test_headers_have_a_limit_of_their_own() -> None:
    name, overhead = "a", h.size_of({"a": ""})
    check_size(message(**{name: "x" * (h.LARGEST_SENT - overhead)}), 10**9, "it")
    with pytest.raises(MessageTooLarge, match="the header table of it has 14,337 bytes") as caught:
        check_size(message(**{name: "x" * (h.LARGEST_SENT - overhead + 1)}), 10**9, "it")
    assert "TASKQ_MAX_MESSAGE_BYTES" not in str(caught.value)  # it would not help


# errors as text


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Nested:
    class Inner(Exception): ...


def caught(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as raised:
        return raised


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("no"), "ValueError", "no"),
        (KeyError("no"), "KeyError", "'no'"),
        (ValueError(), "ValueError", ""),
        (Rude(), f"{__name__}.Rude", "<its text cannot be shown: RuntimeError>"),
        (Nested.Inner("x"), f"{__name__}.Nested.Inner", "x"),
        (ValueError("\ud800"), "ValueError", "?"),
        (ValueError("a\0b"), "ValueError", "a\0b"),
        (ExceptionGroup("several", [ValueError("no")]), "ExceptionGroup", "several (1 sub-exception)"),
    ],
    ids=repr,
)
def test_error_is_described_by_type_message_and_traceback(error: Exception, kind: str, message: str) -> None:
    failure = describe(caught(error))
    assert (failure.type, failure.message) == (kind, message)
    assert failure.traceback.startswith(("Traceback (most recent call last):", "  + Exception Group Traceback"))


def test_traceback_ends_with_what_was_raised_and_shows_its_causes() -> None:
    try:
        try:
            raise KeyError("cause")
        except KeyError as cause:
            raise ValueError("effect") from cause
    except ValueError as error:
        failure = describe(error)
    assert "KeyError: 'cause'" in failure.traceback
    assert failure.traceback.rstrip().endswith("ValueError: effect")


def test_long_and_deep_errors_are_cut() -> None:
    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise ValueError("x" * 1_000_000)

    error: BaseException = caught(ValueError("first"))
    for number in range(300):
        chained = caught(ValueError(f"{number}" * 100))
        chained.__cause__ = error
        error = chained
    try:
        deep(500)
    except ValueError as raised:
        for failure in (describe(raised), describe(error)):
            assert len(failure.message.encode()) <= MESSAGE_BYTES
            assert len(failure.traceback.encode()) <= TRACEBACK_BYTES


@given(failure=st.builds(Failure, st.text(max_size=900), st.text(), st.text()), times=st.integers(1, 2000))
def test_fitted_failure_is_within_its_budgets_and_stays_as_it_is(failure: Failure, times: int) -> None:
    fitted = Failure(failure.type, failure.message * times, failure.traceback * times).fitted()
    assert len(fitted.type.encode()) <= TYPE_BYTES
    assert len(fitted.message.encode()) <= MESSAGE_BYTES
    assert len(fitted.traceback.encode()) <= TRACEBACK_BYTES
    assert fitted.fitted() == fitted


def test_short_form_is_one_line() -> None:
    assert Failure("ValueError", "no\n  such\turl").short == "ValueError: no such url"
