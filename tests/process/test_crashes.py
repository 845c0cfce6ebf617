"""Workers that are killed: nothing is lost, and what they ran goes on elsewhere at once."""

import asyncio
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from taskq import BoundCall, TaskFailed
from tests.support.ledger import Confirmed, Kind
from tests.support.producer import IN_FLIGHT
from tests.support.program import flaky, gated, gated_process, kill_worker, neighbour, work
from tests.support.stage import Stage
from tests.support.workers import ROOT, WorkerProcess, is_alive

JOBS = 2000
BLOWS = 8
HELD = 2  # jobs of each wave that wait for the blow, in the only slot that each worker has for them
FLAKY = 10  # jobs of each wave that fail once


async def work_through_blows(stage: Stage, number: signal.Signals) -> list[WorkerProcess]:
    """Let two workers do 2,000 jobs in waves, and hit one of them in each wave, while it runs jobs.

    Return those that were hit. One job of the victim is sure to run then; others may begin, run, end or be settled.
    No worker waits for two: one that runs a job of an earlier wave alone takes no second one that waits for the blow.
    """
    options = ("--queue", "work=6", "--queue", "gated=1", "--queue", "retries=2", "--grace", "10")
    pair = [stage.workers.launch(*options), stage.workers.launch(*options)]
    hit: list[WorkerProcess] = []
    for blow in range(BLOWS):
        gate, victim = stage.gate(f"gate-{blow}"), pair[blow % 2]
        await victim.consuming()
        held = [gated.with_options(job_id=f"held-{blow}-{n}").bind(str(gate)) for n in range(HELD)]
        short = [work.bind(0.005 * (n % 5)) for n in range(JOBS // BLOWS - HELD - FLAKY)]
        failing = [flaky.bind(2) for _ in range(FLAKY)]
        sending = asyncio.create_task(stage.enqueue_all([*held, *failing, *short]))
        await stage.until(partial(holds_one, stage, victim, held), f"{victim.pid} runs a job that waits for it")
        with stage.pen.fault(number.name, pid=victim.pid):
            victim.send(number)
        hit.append(victim)
        pair[blow % 2] = stage.workers.launch(*options)
        gate.touch()
        await sending
    await stage.until_returned(JOBS)
    await stage.until_at_rest()
    return hit


def holds_one(stage: Stage, worker: WorkerProcess, held: list[BoundCall[str]]) -> bool:
    """Say whether a worker runs one of the jobs that wait for the blow."""
    return any(call.options.job_id in stage.running(worker.pid) for call in held)


async def test_no_job_is_lost_when_workers_are_killed_again_and_again(stage: Stage) -> None:
    hit = await work_through_blows(stage, signal.SIGKILL)
    assert [await worker.ended() for worker in hit] == [-signal.SIGKILL] * BLOWS
    cut_off = [stage.running(worker.pid) for worker in hit]
    assert all(cut_off), "a worker was killed while it ran nothing"
    report = await stage.report()
    assert report.violations == (), str(report)
    assert report.confirmed == JOBS
    assert report.faults == BLOWS
    assert {finding.kind for finding in report.findings} <= {Kind.DUPLICATED}
    assert report.executions >= JOBS + BLOWS * FLAKY + sum(map(len, cut_off))


async def test_workers_that_are_told_to_stop_lose_and_repeat_no_job(stage: Stage) -> None:
    hit = await work_through_blows(stage, signal.SIGTERM)
    assert [await worker.ended() for worker in hit] == [0] * BLOWS
    report = await stage.report()
    assert report.findings == (), str(report)
    assert (report.confirmed, report.executions) == (JOBS, JOBS + BLOWS * FLAKY)
    assert [line for worker in stage.workers.all for line in worker.stray_output()] == []


@pytest.mark.alone
async def test_the_job_of_a_killed_worker_goes_on_at_the_other_at_once(stage: Stage) -> None:
    workers = [await stage.workers.start("--queue", "gated") for _ in range(2)]
    gate = stage.gate()
    job = await stage.enqueue(gated.bind(str(gate)))
    first = await stage.until_started(job.id)
    victim = next(worker for worker in workers if worker.pid == first.pid)
    killed_at = time.time()
    victim.send(signal.SIGKILL)
    second = await stage.until_started(job.id, times=2)
    gate.touch()
    await stage.until_at_rest()
    assert second.at - killed_at < 2.0
    assert second.pid != first.pid
    assert (first.attempt, first.execution) == (1, 1)
    assert (second.attempt, second.execution) == (1, 2)
    assert (await stage.report()).findings == ()


async def test_a_caller_gets_its_result_from_the_next_worker_when_the_first_is_killed(stage: Stage) -> None:
    first, gate = await stage.workers.start("--queue", "gated"), stage.gate()
    job_id = "called-across-a-death"
    calling = asyncio.create_task(gated.with_options(job_id=job_id, reply_timeout=30).call(str(gate)))
    await stage.until_started(job_id)
    first.send(signal.SIGKILL)
    await stage.workers.start("--queue", "gated")
    again = await stage.until_started(job_id, times=2)
    gate.touch()
    assert await calling == job_id
    assert (again.attempt, again.execution) == (1, 2)


async def test_a_job_that_kills_its_worker_becomes_a_dead_letter_and_its_neighbours_finish(stage: Stage) -> None:
    supervisor = stage.workers.launch("--queue", "fragile=1", "--processes", "2")
    await supervisor.consuming(workers=2)
    before = await stage.enqueue_all(neighbour.bind(n) for n in range(10))
    killing = asyncio.create_task(kill_worker.with_options(job_id="killer", reply_timeout=60).call())
    after = await stage.enqueue_all(neighbour.bind(n) for n in range(10, 20))
    with pytest.raises(TaskFailed) as told:
        await killing
    await stage.until_at_rest()
    assert told.value.reason == "delivery-limit"
    assert told.value.job_id == "killer"
    (letter,) = await stage.dead("fragile")
    assert (letter.job_id, letter.task, letter.reason) == ("killer", "kill_worker", "delivery-limit")
    assert len(stage.starts("killer")) == 2
    assert [start.attempt for start in stage.starts("killer")] == [1, 1]
    assert {job.id for job in (*before, *after)} == stage.returned()
    supervisor.send(signal.SIGTERM)
    assert await supervisor.ended() == 0


async def test_a_process_task_ends_with_its_worker_when_that_is_killed(stage: Stage) -> None:
    first, started = await stage.workers.start("--queue", "gated"), stage.folder / "started"
    job = await stage.enqueue(gated_process.bind(str(started), str(stage.gate())))
    await stage.until(lambda: started.exists() and started.read_text(), "the task's process runs")
    child = int(started.read_text())
    first.send(signal.SIGKILL)
    await stage.until(lambda: not is_alive(child), "the task's process is gone", within_s=2)
    stage.gate().touch()
    await stage.workers.start("--queue", "gated")
    again = await stage.until_started(job.id, times=2)
    await stage.until_at_rest()
    assert (again.attempt, again.execution) == (1, 2)
    assert (await stage.report()).findings == ()


async def test_what_was_confirmed_to_a_producer_survives_its_death(stage: Stage) -> None:
    command = [sys.executable, "-m", "tests.support.producer", str(stage.folder / "ledger")]
    producer = subprocess.Popen(command, cwd=ROOT)
    try:
        await stage.until(lambda: len(stage.history.of(Confirmed)) > 200, "it has enqueued some")
        producer.send_signal(signal.SIGKILL)
    finally:
        producer.kill()
        assert producer.wait(10) == -signal.SIGKILL
    await stage.workers.start("--queue", "work=20")
    await stage.until_at_rest()
    report = await stage.report()
    assert report.findings == (), str(report)
    assert report.confirmed > 200
    assert report.wanted - report.confirmed <= IN_FLIGHT, "more were lost than were in flight"
