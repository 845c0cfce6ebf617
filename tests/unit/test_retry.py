"""Retry policies: what is retried, and how long a job waits."""

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.errors import DeclarationError
from taskq.tasks.retry import NO_RETRY, Backoff, Exponential, Fixed, Linear, RetryPolicy, wait_s

STEADY = Exponential(1, cap=60, jitter=False)


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (Fixed(5), [5, 5, 5, 5]),
        (Fixed(timedelta(milliseconds=500)), [0.5, 0.5]),
        (Fixed(0), [0, 0]),
        (Linear(2, cap=5), [2, 4, 5, 5]),
        (Linear(0), [0, 0]),
        (STEADY, [1, 2, 4, 8, 16, 32, 60, 60]),
        (Exponential(timedelta(seconds=3), factor=10, cap=timedelta(minutes=5), jitter=False), [3, 30, 300, 300]),
        (Exponential(5, factor=1, jitter=False), [5, 5, 5]),
        (Exponential(0, jitter=False), [0, 0]),
        (Exponential(9, cap=3, jitter=False), [3, 3]),
    ],
    ids=repr,
)
def test_waits_follow_the_backoff(backoff: Backoff, waits: list[float]) -> None:
    assert [wait_s(backoff, attempt, Random(1)) for attempt in range(1, len(waits) + 1)] == waits


@pytest.mark.parametrize("backoff", [Fixed(7), Linear(1, cap=7), Exponential(1, cap=7, jitter=False)])
@pytest.mark.parametrize("attempt", [1000, 10**9, 10**400], ids=["1e3", "1e9", "1e400"])
def test_huge_attempt_numbers_wait_for_the_cap(backoff: Backoff, attempt: int) -> None:
    assert wait_s(backoff, attempt, Random(1)) == 7


durations = st.floats(0, 10 * 365 * 24 * 3600, allow_nan=False)
backoffs = (
    st.builds(Fixed, durations, jitter=st.booleans())
    | st.builds(Linear, durations, cap=durations, jitter=st.booleans())
    | st.builds(Exponential, durations, factor=st.floats(1, 100), cap=durations, jitter=st.booleans())
)


@given(backoff=backoffs, attempt=st.integers(1, 10**30), seed=st.integers())
def test_wait_is_never_negative_and_never_above_the_cap(backoff: Backoff, attempt: int, seed: int) -> None:
    cap = backoff.delay if isinstance(backoff, Fixed) else backoff.cap
    wait = wait_s(backoff, attempt, Random(seed))
    assert 0 <= wait <= cap


@given(attempt=st.integers(1, 10**6), seed=st.integers())
def test_jitter_draws_from_zero_to_the_wait_without_it(attempt: int, seed: int) -> None:
    assert 0 <= wait_s(Exponential(1, cap=60), attempt, Random(seed)) <= wait_s(STEADY, attempt, Random(seed))


def test_jitter_uses_the_whole_range_and_the_generator_that_is_given() -> None:
    draws = [wait_s(Exponential(8), 1, Random(seed)) for seed in range(200)]
    assert min(draws) < 0.5
    assert max(draws) > 7.5
    assert draws == [wait_s(Exponential(8), 1, Random(seed)) for seed in range(200)]


def test_waits_without_jitter_never_shrink() -> None:
    for backoff in (Fixed(3), Linear(2), STEADY):
        waits = [wait_s(backoff, attempt, Random(1)) for attempt in range(1, 50)]
        assert waits == sorted(waits)


def test_default_is_one_attempt_with_jittered_exponential_backoff_to_ten_minutes() -> None:
    assert NO_RETRY.attempts == 1
    assert NO_RETRY.backoff == Exponential(1.0, factor=2.0, cap=600.0, jitter=True)


class Gone(ValueError): ...


@pytest.mark.parametrize(
    ("policy", "error", "retried"),
    [
        (RetryPolicy(attempts=2), ValueError(), True),
        (RetryPolicy(attempts=2), TimeoutError(), True),
        (RetryPolicy(attempts=2), KeyboardInterrupt(), False),
        (RetryPolicy(attempts=2), SystemExit(1), False),
        (RetryPolicy(attempts=2, retry_on=(OSError,)), ValueError(), False),
        (RetryPolicy(attempts=2, retry_on=(OSError,)), TimeoutError(), True),
        (RetryPolicy(attempts=2, retry_on=(OSError, ValueError)), Gone(), True),
        (RetryPolicy(attempts=2, give_up_on=(Gone,)), Gone(), False),
        (RetryPolicy(attempts=2, give_up_on=(Gone,)), ValueError(), True),
        (RetryPolicy(attempts=2, retry_on=(Gone,), give_up_on=(ValueError,)), Gone(), False),
        (RetryPolicy(attempts=2, retry_on=()), ValueError(), False),
        (RetryPolicy(attempts=2, retry_on=(BaseException,)), SystemExit(1), True),
    ],
)
def test_types_say_what_is_worth_another_attempt(policy: RetryPolicy, error: BaseException, retried: bool) -> None:
    assert policy.retries(error) is retried


@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        (RetryPolicy, {"attempts": 0}, r"RetryPolicy\(attempts\): 0 must be a whole number from 1 to 1000"),
        (RetryPolicy, {"attempts": 1001}, r"RetryPolicy\(attempts\)"),
        (RetryPolicy, {"attempts": True}, r"RetryPolicy\(attempts\)"),
        (RetryPolicy, {"attempts": 2.0}, r"RetryPolicy\(attempts\)"),
        (RetryPolicy, {"backoff": 5}, "5 is none of Fixed, Linear, Exponential"),
        (RetryPolicy, {"retry_on": ValueError}, "give a tuple of exception types"),
        (RetryPolicy, {"retry_on": [ValueError]}, "give a tuple of exception types"),
        (RetryPolicy, {"give_up_on": (int,)}, "give a tuple of exception types"),
        (RetryPolicy, {"give_up_on": ("ValueError",)}, "give a tuple of exception types"),
        (Fixed, {"delay": -1}, r"Fixed\(delay\): -1 is out of range"),
        (Fixed, {"delay": "1"}, r"Fixed\(delay\): '1' is no duration"),
        (Linear, {"step": -1}, r"Linear\(step\)"),
        (Linear, {"step": 1, "cap": -1}, r"Linear\(cap\)"),
        (Exponential, {"base": float("nan")}, r"Exponential\(base\)"),
        (Exponential, {"cap": float("inf")}, r"Exponential\(cap\)"),
        (Exponential, {"factor": 0.5}, r"Exponential\(factor\): 0.5 is out of range; it must be 1 to 100"),
        (Exponential, {"factor": 101}, r"Exponential\(factor\)"),
        (Exponential, {"factor": "2"}, r"Exponential\(factor\)"),
        (Exponential, {"factor": float("nan")}, r"Exponential\(factor\)"),
    ],
    ids=str,
)
def test_policy_out_of_bounds_is_refused(kind: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(DeclarationError, match=text):
        kind(**options)
