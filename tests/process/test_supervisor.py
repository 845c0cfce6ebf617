"""`--processes`: a crashed child is started again. And what blocks the event loop is named in the log."""

import os
import signal

import pytest

from tests.support.program import block_the_loop, work
from tests.support.stage import Stage

pytestmark = pytest.mark.one_broker


async def test_a_killed_child_is_started_again(stage: Stage) -> None:
    supervisor = stage.workers.launch("--queue", "work", "--processes", "2")
    await supervisor.consuming(workers=2)
    victim, other = (event["pid"] for event in supervisor.events("WorkerStarted"))
    os.kill(victim, signal.SIGKILL)
    await supervisor.consuming(workers=3)
    (ended,) = supervisor.events("ChildExited")
    assert (ended["pid"], ended["status"]) == (victim, -signal.SIGKILL)
    assert ended["restart_in_s"] < 1.0
    new = supervisor.events("WorkerStarted")[-1]["pid"]
    assert len({victim, other, new, supervisor.pid}) == 4
    jobs = await stage.enqueue_all(work.bind(0.1) for _ in range(10))
    await stage.until_at_rest()
    assert stage.returned() == {job.id for job in jobs}
    assert {start.pid for job in jobs for start in stage.starts(job.id)} == {other, new}
    supervisor.send(signal.SIGTERM)
    assert await supervisor.ended() == 0
    assert (await stage.report()).findings == ()


async def test_children_stop_in_order_when_their_supervisor_is_killed(stage: Stage) -> None:
    supervisor = stage.workers.launch("--queue", "work", "--processes", "2")
    await supervisor.consuming(workers=2)
    supervisor.send(signal.SIGKILL)
    await stage.until(lambda: len(supervisor.events("WorkerStopped")) == 2, "both children stop")
    reasons = {event["reason"] for event in supervisor.events("WorkerStopping")}
    assert reasons == {"the supervisor is gone"}


async def test_a_child_that_did_its_share_of_jobs_is_replaced(stage: Stage) -> None:
    supervisor = stage.workers.launch("--queue", "work", "--processes", "2", "--max-jobs", "5")
    jobs = await stage.enqueue_all(work.bind() for _ in range(20))
    await stage.until_at_rest()
    assert stage.returned() == {job.id for job in jobs}
    done = [start.pid for job in jobs for start in stage.starts(job.id)]
    assert max(map(done.count, done)) == 5
    assert {event["status"] for event in supervisor.events("ChildExited")} == {0}
    supervisor.send(signal.SIGTERM)
    assert await supervisor.ended() == 0
    assert (await stage.report()).findings == ()


async def test_what_blocks_the_event_loop_is_named_with_its_stack(stage: Stage) -> None:
    worker = await stage.workers.start("--queue", "blocking")
    job = await stage.enqueue(block_the_loop.bind(1.5))
    await stage.until(lambda: worker.events("LoopBlocked"), "it is reported")
    await stage.until_at_rest()
    (blocked,) = worker.events("LoopBlocked")
    assert blocked["level"] == "WARNING"
    assert 1.0 < blocked["seconds"] < 1.5
    assert "in block_the_loop" in blocked["message"]
    assert "time.sleep(seconds)" in blocked["message"]
    assert stage.returned() == {job.id}
