"""SIGTERM and SIGINT: jobs that can end do, the others are handed back, and nothing holds the exit."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.ledger import Ended, Outcome
from tests.support.program import gated, gated_process, stuck_thread
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.workers import WorkerProcess, is_alive

GATED = ("--queue", "gated=1")
MARGIN_S = 2.0


async def end_in_time(worker: WorkerProcess, since: float, *, within_s: float) -> None:
    """Wait for the end of a worker that was told to stop at ``since``, and check its status and how long it took."""
    assert await worker.ended() == 0, worker.output
    assert time.monotonic() - since < within_s


async def test_a_job_that_ends_within_the_grace_time_is_finished_and_not_repeated(stage: Stage) -> None:
    worker, gate = await stage.workers.start(*GATED, "--grace", "20"), stage.gate()
    job = await stage.enqueue(gated.bind(str(gate)))
    waiting = await stage.enqueue(gated.bind(str(gate)))
    await stage.until_started(job.id)
    worker.send(signal.SIGTERM)
    await stage.until(lambda: worker.events("WorkerStopping"), "it stops")
    gate.touch()
    assert await worker.ended() == 0
    assert stage.returned() == {job.id}
    assert stage.starts(waiting.id) == [], "a worker that stops took another job"
    await stage.workers.start(*GATED)
    await stage.until_at_rest()
    assert (await stage.report()).findings == ()
    assert len(stage.starts(job.id)) == len(stage.starts(waiting.id)) == 1


async def test_a_job_longer_than_the_grace_time_is_handed_back_with_its_attempt_number(stage: Stage) -> None:
    grace_s = 0.5
    worker, gate = await stage.workers.start(*GATED, "--grace", str(grace_s)), stage.gate()
    job = await stage.enqueue(gated.bind(str(gate)))
    await stage.until_started(job.id)
    worker.send(signal.SIGTERM)
    await end_in_time(worker, time.monotonic(), within_s=grace_s + MARGIN_S)
    assert [end.outcome for end in stage.history.of(Ended)] == [Outcome.CUT]
    assert len(worker.events("JobHandedBack")) == 1
    await stage.workers.start(*GATED)
    again = await stage.until_started(job.id, times=2)
    gate.touch()
    await stage.until_at_rest()
    assert (again.attempt, again.execution) == (1, 2)
    assert (await stage.report()).findings == ()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_cuts_a_long_grace_time_short(stage: Stage, number: signal.Signals) -> None:
    worker = await stage.workers.start(*GATED, "--grace", "300")
    job = await stage.enqueue(gated.bind(str(stage.gate())))
    await stage.until_started(job.id)
    worker.send(number)
    await stage.until(lambda: worker.events("WorkerStopping"), "it stops")
    assert worker.status is None
    worker.send(number)
    await end_in_time(worker, time.monotonic(), within_s=MARGIN_S)
    assert len(worker.events("JobHandedBack")) == 1


async def test_an_idle_worker_stops_at_once(stage: Stage) -> None:
    worker = await stage.workers.start(*GATED, "--grace", "300")
    worker.send(signal.SIGTERM)
    await end_in_time(worker, time.monotonic(), within_s=MARGIN_S)


async def test_a_thread_that_never_ends_does_not_hold_the_exit(stage: Stage) -> None:
    worker = await stage.workers.start(*GATED, "--grace", "0.5")
    job = await stage.enqueue(stuck_thread.bind())
    await stage.until_started(job.id)
    worker.send(signal.SIGTERM)
    await end_in_time(worker, time.monotonic(), within_s=0.5 + MARGIN_S)
    (stopped,) = worker.events("WorkerStopped")
    assert stopped["threads"] == 1
    queues = {state.name: state for state in await stage.app.queues()}
    assert queues["gated"].ready == 1, "the job was not handed back"
    assert not queues["gated"].unsettled


async def child_of(started: Path) -> int:
    """Wait until a process task runs, and return the pid of its process."""
    text = await eventually(lambda: started.exists() and started.read_text(), "the task's process began")
    return int(text)


async def test_a_process_task_is_killed_when_the_grace_time_is_over(stage: Stage) -> None:
    worker, started = await stage.workers.start(*GATED, "--grace", "0.5"), stage.folder / "started"
    job = await stage.enqueue(gated_process.bind(str(started), str(stage.gate())))
    child = await child_of(started)
    worker.send(signal.SIGTERM)
    await end_in_time(worker, time.monotonic(), within_s=0.5 + MARGIN_S)
    await eventually(lambda: not is_alive(child), "the task's process is gone", within_s=MARGIN_S)
    assert [end.outcome for end in stage.history.of(Ended) if end.job == job.id] == [Outcome.CUT]
    assert len(worker.events("JobHandedBack")) == 1


async def test_a_process_task_survives_ctrl_c_while_there_is_grace(stage: Stage) -> None:
    worker, started, gate = await stage.workers.start(*GATED, "--grace", "20"), stage.folder / "started", stage.gate()
    calling = asyncio.create_task(gated_process.call(str(started), str(gate)))
    child = await child_of(started)
    assert os.getpgid(child) == worker.pid, "the signal would not reach the task's process, and the test prove nothing"
    worker.send_group(signal.SIGINT)
    await stage.until(lambda: worker.events("WorkerStopping"), "it stops")
    gate.touch()
    assert await calling == child
    assert await worker.ended() == 0
    assert worker.stray_output() == []
