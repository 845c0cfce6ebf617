"""Jobs that kill their worker among jobs that do not: exactly they become dead letters, whatever else was in flight."""

import asyncio
import signal
from itertools import pairwise

import pytest

from taskq import Job
from tests.support.ledger import Kind, Started
from tests.support.program import bombs, bystanders, gated
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.workers import WorkerProcess

LIMIT = 5  # of each crowd
SUSPECTED = 2  # deaths, from which a job runs alone


async def send(stage: Stage, queue: str, good: int, *, bad: str) -> list[Job]:
    """Enqueue jobs with one in their midst that kills."""
    calls = [bystanders[queue].bind() for _ in range(good)]
    calls.insert(good // 3, bombs[queue].with_options(job_id=bad).bind())
    return [job for job in await stage.enqueue_all(calls) if job.id != bad]


async def dead(stage: Stage, *queues: str) -> list[tuple[str, str]]:
    return [(letter.job_id, letter.reason) for queue in queues for letter in await stage.dead(queue)]


async def until_dead(stage: Stage, queue: str, number: int = 1, *, within_s: float = 60.0) -> None:
    async def there() -> bool:
        return len(await stage.dead(queue)) >= number

    await eventually(there, f"{number} dead letters in {queue}", within_s=within_s, look_s=0.25)


async def check_the_ledger(stage: Stage, confirmed: int, *bad: str) -> None:
    """Nothing is lost, and only deaths have made duplicates. A culprit has killed as often as it may.

    It counts the deaths of another one's making, too, that it was beside: each makes two before it is a suspect.
    """
    report = await stage.report()
    assert report.violations == (), str(report)
    assert report.confirmed == confirmed
    assert {finding.kind for finding in report.findings} <= {Kind.DUPLICATED}
    others = SUSPECTED * (len(bad) - 1)
    for job in bad:
        assert LIMIT - others <= len(stage.starts(job)) <= LIMIT, "it killed as often as its queue allows"


def check_the_price(stage: Stage, good: list[Job], *, beside: int) -> None:
    """Good jobs ran again only for the deaths before the culprit was a suspect: those that were beside it."""
    innocent = {job.id for job in good}
    again = sum(start.job in innocent for start in stage.history.of(Started)) - len(innocent)
    assert 1 <= again <= SUSPECTED * beside, f"{again} starts too many"


async def stopped(supervisor: WorkerProcess) -> None:
    supervisor.send(signal.SIGTERM)
    assert await supervisor.ended() == 0


@pytest.mark.parametrize("queue", ["crowd", "classic-crowd"])
async def test_exactly_the_job_that_kills_becomes_a_dead_letter_among_five_hundred(stage: Stage, queue: str) -> None:
    supervisor = stage.workers.launch("--queue", f"{queue}=50", "--processes", "2")
    await supervisor.consuming(workers=2)
    good = await send(stage, queue, 500, bad="killer")
    await until_dead(stage, queue)
    await stage.until_returned(500)
    await stage.until_at_rest()
    assert await dead(stage, queue) == [("killer", "delivery-limit")]
    assert stage.returned() == {job.id for job in good}
    await check_the_ledger(stage, 501, "killer")
    check_the_price(stage, good, beside=49)
    await stopped(supervisor)


async def test_two_jobs_that_kill_in_two_queues_take_nobody_with_them(stage: Stage) -> None:
    supervisor = stage.workers.launch("--queue", "crowd=25", "--queue", "throng=25", "--processes", "2")
    await supervisor.consuming(workers=2)
    sent = await asyncio.gather(send(stage, "crowd", 150, bad="first"), send(stage, "throng", 150, bad="second"))
    await asyncio.gather(until_dead(stage, "crowd"), until_dead(stage, "throng"))
    await stage.until_returned(300)
    await stage.until_at_rest()
    assert await dead(stage, "crowd", "throng") == [("first", "delivery-limit"), ("second", "delivery-limit")]
    assert stage.returned() == {job.id for jobs in sent for job in jobs}
    await check_the_ledger(stage, 302, "first", "second")
    await stopped(supervisor)


async def suspects(stage: Stage, jobs: list[Job]) -> None:
    """Let jobs of the queue ``gated`` be in flight at two deaths."""
    for death in range(SUSPECTED):
        worker = await stage.workers.start("--queue", "gated=9")
        await asyncio.gather(*(stage.until_started(job.id, times=death + 1) for job in jobs))
        with stage.pen.fault("SIGKILL", pid=worker.pid):
            worker.send(signal.SIGKILL)
        assert await worker.ended() == -signal.SIGKILL


async def test_what_waits_for_its_turn_when_the_worker_is_told_to_stop_is_given_back(stage: Stage) -> None:
    jobs = await stage.enqueue_all([gated.bind(str(stage.gate("suspects"))) for _ in range(3)])
    await suspects(stage, jobs)
    worker = await stage.workers.start("--queue", "gated=9", "--grace", "0.2")
    await stage.until(lambda: any(len(stage.starts(job.id)) > SUSPECTED for job in jobs), "one of them runs alone")
    await stage.until(lambda: worker.events("JobIsolated"), "the worker says so")
    worker.send(signal.SIGTERM)
    assert await worker.ended() == 0
    assert sum(len(stage.starts(job.id)) > SUSPECTED for job in jobs) == 1, "the others were not run beside it"
    stage.gate("suspects").touch()
    again = await stage.workers.start("--queue", "gated=9")
    await stage.until_returned(3)
    await stage.until_at_rest()
    told = again.events("JobIsolated")
    assert len(told) >= 2, "those that were given back are suspects still"
    assert {event["deaths"] for event in told} == {SUSPECTED}
    report = await stage.report()
    assert report.violations == (), str(report)
    assert report.confirmed == 3


async def test_suspects_run_one_at_a_time_when_what_ran_beside_them_has_ended(stage: Stage) -> None:
    jobs = await stage.enqueue_all([gated.bind(str(stage.gate("suspects"))) for _ in range(3)])
    await suspects(stage, jobs)
    stage.gate("suspects").touch()
    worker = await stage.workers.start("--queue", "gated=9")
    await stage.until_returned(3)
    await stage.until_at_rest()
    alone = [stage.starts(job.id)[-1] for job in jobs]
    ends = {end.job: end.at for end in stage.ends(worker.pid)}
    alone.sort(key=lambda start: start.at)
    for earlier, later in pairwise(alone):
        assert ends[earlier.job] <= later.at
    assert len(worker.events("JobIsolated")) == 3
