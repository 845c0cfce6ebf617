"""Retries, dead letters, expiry and bursts."""

import asyncio
import time
from itertools import pairwise

import pytest

from taskq import JobExpired, TaskFailed
from tests.support.ledger import Ended, Expired, Outcome
from tests.support.program import flaky, gated, refuse
from tests.support.stage import Stage

BACKOFFS_S = (0.2, 0.6)  # of `flaky`: 0.2 s, and three times that


def gaps_s(stage: Stage, job: str) -> list[float]:
    """Return the time from the end of each execution of a job to the start of the next."""
    ends = [end for end in stage.history.of(Ended) if end.job == job]
    return [start.at - end.at for end, start in zip(ends, stage.starts(job)[1:], strict=False)]


async def test_attempts_are_counted_and_the_gaps_between_them_grow(stage: Stage) -> None:
    await stage.prepare_delays()
    await stage.workers.start("--queue", "retries")
    job_id = "third-time-lucky"
    assert await flaky.with_options(job_id=job_id).call(3) == 3
    starts = stage.starts(job_id)
    assert [start.attempt for start in starts] == [1, 2, 3]
    assert [start.execution for start in starts] == [1, 2, 3]
    gaps = gaps_s(stage, job_id)
    assert all(first < second for first, second in pairwise(gaps)), gaps
    assert all(gap >= backoff for gap, backoff in zip(gaps, BACKOFFS_S, strict=True)), gaps
    assert [end.outcome for end in stage.history.of(Ended)] == [Outcome.FAILED, Outcome.FAILED, Outcome.RETURNED]


async def test_an_exhausted_job_is_a_dead_letter_that_tells_all_of_it(stage: Stage) -> None:
    await stage.workers.start("--queue", "retries")
    before = time.time()
    with pytest.raises(TaskFailed) as told:
        await flaky.with_options(job_id="hopeless", headers={"tenant": "a"}).call(4)
    after = time.time()
    await stage.until_at_rest()
    (letter,) = await stage.dead("retries")
    assert (letter.job_id, letter.task, letter.queue, letter.reason) == ("hopeless", "flaky", "retries", "failed")
    assert (letter.attempt, letter.execution) == (3, 3)
    assert (letter.failure.type, letter.failure.message) == ("ConnectionError", "attempt 3 found nobody")
    assert "raise ConnectionError" in letter.failure.traceback
    assert "program.py" in letter.failure.traceback
    assert letter.enqueued_at is not None
    assert letter.died_at is not None
    assert before - 0.001 <= letter.enqueued_at < letter.died_at <= after + 0.001
    assert letter.message.body == b'{"good_at":4}'
    assert letter.message.headers["tenant"] == "a"
    error = told.value
    assert (error.task, error.job_id, error.reason) == ("flaky", "hopeless", "failed")
    assert (error.remote_type, error.remote_message) == ("ConnectionError", "attempt 3 found nobody")
    assert error.remote_traceback == letter.failure.traceback


async def test_a_rejected_job_is_dead_at_once_and_a_dead_job_can_be_put_back(stage: Stage) -> None:
    await stage.workers.start("--queue", "retries")
    refused = await stage.enqueue(refuse.bind("not for me"))
    failed = await stage.enqueue(flaky.bind(4))
    await stage.until_at_rest()
    reasons = {letter.job_id: letter.reason for letter in await stage.dead("retries")}
    assert reasons == {refused.id: "rejected", failed.id: "failed"}
    assert (await stage.report()).findings == ()
    assert len(stage.starts(refused.id)) == 1
    assert await stage.app.dead_letters.retry("retries", [failed.id]) == 1
    await stage.until_started(failed.id, times=6)
    await stage.until_at_rest()
    assert [start.attempt for start in stage.starts(failed.id)] == [1, 2, 3, 1, 2, 3]
    assert {letter.job_id for letter in await stage.dead("retries")} == {refused.id, failed.id}


async def test_an_expired_job_is_not_run_and_its_caller_is_told(stage: Stage) -> None:
    gate = stage.gate()
    holding = await stage.enqueue(gated.bind(str(gate)))
    late = await stage.enqueue(gated.with_options(expires=0.2).bind(str(gate)))
    submitted = await gated.with_options(job_id="awaited", expires=0.2).submit(str(gate))
    in_time = await stage.enqueue(gated.with_options(expires=60).bind(str(gate)))
    await stage.workers.start("--queue", "gated=1")
    started = await stage.until_started(holding.id)
    await stage.until(lambda: time.time() > started.at + 0.3, "the expiry is over")
    gate.touch()
    with pytest.raises(JobExpired, match="awaited"):
        await submitted.result()
    await stage.until_at_rest()
    assert stage.returned() == {holding.id, in_time.id}
    assert {drop.job for drop in stage.history.of(Expired)} == {late.id, "awaited"}
    assert await stage.dead("gated") == []
    assert (await stage.report()).findings == ()


async def test_a_burst_waits_for_its_retries_and_ends_well(stage: Stage) -> None:
    jobs = await stage.enqueue_all(flaky.bind(n) for n in (1, 2, 3))
    worker = stage.workers.launch("--queue", "retries", "--burst")
    assert await worker.ended() == 0
    assert stage.returned() == {job.id for job in jobs}
    report = await stage.report()
    assert report.findings == (), str(report)
    assert report.executions == 6


async def test_a_burst_in_which_a_job_died_ends_with_status_1(stage: Stage) -> None:
    hopeless, good = await asyncio.gather(stage.enqueue(flaky.bind(4)), stage.enqueue(flaky.bind(1)))
    worker = stage.workers.launch("--queue", "retries", "--burst")
    assert await worker.ended() == 1
    assert [letter.job_id for letter in await stage.dead("retries")] == [hopeless.id]
    assert stage.returned() == {good.id}
    assert (await stage.report()).findings == ()
