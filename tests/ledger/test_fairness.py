"""Unfair dispatch is found in a ledger, and fair dispatch is not called unfair."""

from tests.support.ledger import Confirmed, Ended, History, Outcome, Record, Started
from tests.support.ledger.fairness import UnfairWait, unfair_waits

A, B = 1, 2


def run(job: str, pid: int, start: float, end: float) -> list[Record]:
    """A job that was confirmed at 0 and ran from ``start`` to ``end``."""
    return [
        Confirmed(job=job, at=0.0),
        Started(job=job, at=start, pid=pid, attempt=1, execution=1),
        Ended(job=job, at=end, pid=pid, attempt=1, execution=1, outcome=Outcome.RETURNED),
    ]


def unfair(*runs: list[Record], turn_s: float = 0.1) -> list[UnfairWait]:
    return unfair_waits(History(tuple(record for run in runs for record in run)), (A, B), turn_s=turn_s)


def test_jobs_that_go_to_whoever_is_free_are_fair() -> None:
    assert unfair(run("long", A, 0, 10), run("x", B, 0, 3), run("y", B, 3.05, 6), run("z", B, 6.05, 9)) == []


def test_a_worker_that_is_free_while_nothing_waits_is_fair() -> None:
    assert unfair(run("long", A, 0, 10), run("x", B, 0, 1)) == []


def test_a_job_that_was_dealt_to_a_busy_worker_is_found() -> None:
    dealt = run("dealt", A, 10, 11)
    assert unfair(run("long", A, 0, 10), run("x", B, 0, 1), dealt) == [UnfairWait("dealt", B, 1, 10)]


def test_a_worker_that_never_ran_anything_is_found() -> None:
    assert unfair(run("x", A, 0, 1), run("y", A, 1, 2)) == [UnfairWait("y", B, 0, 1)]


def test_a_worker_that_runs_two_jobs_at_once_is_found() -> None:
    assert unfair(run("x", A, 0, 5), run("y", A, 1, 2), run("z", B, 0, 9), turn_s=2) == [
        UnfairWait("y beside x", A, 1, 2)
    ]


def test_a_job_that_never_started_beside_a_free_worker_is_found() -> None:
    (found,) = unfair(run("x", A, 0, 5), [Confirmed(job="y", at=1)], run("z", B, 0, 9), turn_s=2)[:1]
    assert (found.job, found.pid, found.since) == ("y", A, 5)
