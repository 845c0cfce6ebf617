"""What becomes of a delivery: every outcome, against attempt, policy and expiry."""

from random import Random

import pytest

from taskq.tasks.retry import NO_RETRY, Exponential, Fixed, Linear, RetryPolicy
from taskq.wire.dead import DeadReason
from taskq.wire.failure import Failure
from taskq.wire.job import JobMessage
from taskq.worker.decide import decide
from taskq.worker.outcome import (
    Interrupted,
    Outcome,
    Overdue,
    Raised,
    Rejected,
    RetryAsked,
    Returned,
    SnoozeAsked,
    TimedOut,
    Unusable,
)
from taskq.worker.verdict import Bury, Complete, HandBack, LetExpire, PutOff, TryAgain, Verdict
from tests.support.jobs import NOW, job

THREE = RetryPolicy(attempts=3, backoff=Fixed(10))
UNREADABLE = Unusable(DeadReason.UNDECODABLE, Failure("taskq.UndecodableMessage", "no JSON"))
FAILURES: tuple[Outcome, ...] = (Raised(ValueError("no")), TimedOut(30.0), RetryAsked("busy", None))


def decided(outcome: Outcome, of: JobMessage | None = None, policy: RetryPolicy = THREE, *, seed: int = 1) -> Verdict:
    return decide(outcome, of or job(), policy, now=NOW, rng=Random(seed))


def retry(verdict: Verdict) -> TryAgain:
    assert isinstance(verdict, TryAgain), verdict
    return verdict


def burial(verdict: Verdict) -> Bury:
    assert isinstance(verdict, Bury), verdict
    return verdict


# Outcomes that no policy changes.


@pytest.mark.parametrize("policy", [NO_RETRY, THREE])
@pytest.mark.parametrize("attempt", [1, 2, 3, 4])
@pytest.mark.parametrize("deadline", [None, NOW - 1, NOW + 5, NOW + 1000])
def test_outcomes_that_end_a_job_end_it_whatever_the_attempt_the_policy_and_the_expiry(
    policy: RetryPolicy, attempt: int, deadline: float | None
) -> None:
    of = job(attempt, deadline=deadline)
    assert decided(Returned(b"1"), of, policy) == Complete(b"1")
    assert decided(Returned(None), of, policy) == Complete(None)
    assert decided(Overdue(), of, policy) == LetExpire()
    assert decided(Interrupted(), of, policy) == HandBack()
    assert decided(UNREADABLE, of, policy) == Bury(DeadReason.UNDECODABLE, UNREADABLE.failure)
    assert decided(Rejected("never"), of, policy) == Bury(DeadReason.REJECTED, Failure("taskq.Reject", "never"))


def test_message_that_could_not_be_read_is_buried() -> None:
    verdict = decide(UNREADABLE, None, NO_RETRY, now=NOW, rng=Random(1))
    assert verdict == Bury(DeadReason.UNDECODABLE, UNREADABLE.failure)


# Failures.


@pytest.mark.parametrize("outcome", FAILURES)
@pytest.mark.parametrize("attempt", [1, 2])
def test_failure_before_the_last_attempt_is_tried_again_under_the_next_number(outcome: Outcome, attempt: int) -> None:
    again = retry(decided(outcome, job(attempt)))
    assert (again.attempt, again.attempts) == (attempt + 1, 3)
    assert (again.at, again.wait_s) == (NOW + 10, 10)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Raised(ValueError("no")), DeadReason.FAILED),
        (TimedOut(30.0), DeadReason.TIMED_OUT),
        (RetryAsked("busy", None), DeadReason.FAILED),
        (RetryAsked("busy", 5.0), DeadReason.FAILED),
    ],
)
@pytest.mark.parametrize("attempt", [3, 4])  # a job may have been enqueued under a policy with more attempts
def test_failure_of_the_last_attempt_is_a_dead_letter(outcome: Outcome, reason: DeadReason, attempt: int) -> None:
    assert burial(decided(outcome, job(attempt))).reason is reason


@pytest.mark.parametrize("outcome", FAILURES)
def test_without_a_policy_the_first_failure_is_the_last(outcome: Outcome) -> None:
    burial(decided(outcome, job(1), NO_RETRY))


def test_gaps_grow_with_the_attempts_up_to_the_cap() -> None:
    policy = RetryPolicy(attempts=10, backoff=Exponential(1, factor=3, cap=20, jitter=False))
    waits = [retry(decided(Raised(ValueError()), job(n), policy)).wait_s for n in range(1, 6)]
    assert waits == [1, 3, 9, 20, 20]
    linear = RetryPolicy(attempts=10, backoff=Linear(2, cap=5))
    assert [retry(decided(Raised(ValueError()), job(n), linear)).wait_s for n in range(1, 4)] == [2, 4, 5]


def test_jitter_comes_from_the_random_that_is_passed() -> None:
    policy = RetryPolicy(attempts=10, backoff=Exponential(8, jitter=True))
    waits = [retry(decided(Raised(ValueError()), job(1), policy, seed=n)).wait_s for n in range(200)]
    assert waits == [Random(n).uniform(0, 8) for n in range(200)]
    assert min(waits) < 1
    assert max(waits) > 7


def test_retry_after_replaces_the_backoff_and_its_cap() -> None:
    policy = RetryPolicy(attempts=3, backoff=Exponential(1, cap=2))
    again = retry(decided(RetryAsked("HTTP 503", 3600.0), job(1), policy))
    assert (again.wait_s, again.at, again.error) == (3600, NOW + 3600, "taskq.Retry: HTTP 503")
    assert retry(decided(RetryAsked("now", 0.0), job(1), policy)).at == NOW


def test_retry_on_and_give_up_on_choose_which_errors_are_tried_again() -> None:
    policy = RetryPolicy(attempts=3, backoff=Fixed(1), retry_on=(OSError,), give_up_on=(ConnectionError,))
    retry(decided(Raised(PermissionError("x")), job(1), policy))
    assert burial(decided(Raised(ConnectionResetError("x")), job(1), policy)).reason is DeadReason.FAILED
    assert burial(decided(Raised(ValueError("x")), job(1), policy)).reason is DeadReason.FAILED


def test_timeout_counts_as_a_timeout_error_for_the_policy() -> None:
    retry(decided(TimedOut(1), job(1), RetryPolicy(attempts=3, retry_on=(TimeoutError,))))
    gave_up = burial(decided(TimedOut(1), job(1), RetryPolicy(attempts=3, give_up_on=(TimeoutError,))))
    assert gave_up.reason is DeadReason.TIMED_OUT


def test_raised_retry_is_followed_whatever_the_types_of_the_policy_say() -> None:
    policy = RetryPolicy(attempts=3, retry_on=(OSError,), give_up_on=(Exception,))
    retry(decided(RetryAsked("busy", 1.0), job(1), policy))


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_errors_that_are_no_exceptions_are_retried_only_when_the_policy_names_them(error: BaseException) -> None:
    assert burial(decided(Raised(error), job(1))).failure.type == type(error).__name__
    named = RetryPolicy(attempts=3, retry_on=(BaseException,))
    retry(decided(Raised(error), job(1), named))


def test_retry_with_a_single_attempt_says_why_it_was_not_followed() -> None:
    failure = burial(decided(RetryAsked("busy", None), job(1), NO_RETRY)).failure
    assert failure.message.startswith("busy (the task asked for a retry, but its policy has 1 attempt")
    exhausted = burial(decided(RetryAsked("busy", None), job(3))).failure
    assert exhausted.message == "busy"


def test_dead_letter_of_an_error_has_its_type_message_and_traceback() -> None:
    try:
        raise LookupError("no such row")
    except LookupError as error:
        failure = burial(decided(Raised(error), job(3))).failure
    assert (failure.type, failure.message) == ("LookupError", "no such row")
    assert "test_decide.py" in failure.traceback


# Expiry.


@pytest.mark.parametrize("outcome", FAILURES)
def test_retry_beyond_the_expiry_is_a_dead_letter_that_says_so(outcome: Outcome) -> None:
    failure = burial(decided(outcome, job(1, deadline=NOW + 10))).failure
    assert "attempt 2 would start after the job's expiry" in failure.message
    retry(decided(outcome, job(1, deadline=NOW + 10.001)))


def test_timed_out_retry_beyond_the_expiry_keeps_its_reason() -> None:
    assert burial(decided(TimedOut(1), job(1, deadline=NOW + 1))).reason is DeadReason.TIMED_OUT


@pytest.mark.parametrize("attempt", [1, 3, 9])
def test_snooze_repeats_the_attempt_and_is_bounded_by_the_expiry_alone(attempt: int) -> None:
    assert decided(SnoozeAsked(60.0), job(attempt)) == PutOff(NOW + 60, 60.0)
    assert decided(SnoozeAsked(60.0), job(attempt), NO_RETRY) == PutOff(NOW + 60, 60.0)
    assert decided(SnoozeAsked(60.0), job(attempt, deadline=NOW + 61)) == PutOff(NOW + 60, 60.0)
    assert decided(SnoozeAsked(60.0), job(attempt, deadline=NOW + 60)) == LetExpire()
