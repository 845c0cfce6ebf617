"""Fair dispatch: no job waits at a busy worker while another one is free."""

import random

import pytest

from tests.support.ledger import Started
from tests.support.ledger.fairness import unfair_waits
from tests.support.program import work
from tests.support.stage import Stage

pytestmark = pytest.mark.alone

JOBS = 60
TURN_S = 0.15  # from the end of a job to the start of the next: settle, claim, and a loaded machine


async def test_no_job_waits_at_a_busy_worker_while_the_other_is_free(stage: Stage) -> None:
    pair = [await stage.workers.start("--queue", "work=1") for _ in range(2)]
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    lengths_s = [1.5, *(rng.choice((0.005, 0.03, 0.2)) for _ in range(JOBS - 1))]
    jobs = await stage.enqueue_all(work.bind(length_s) for length_s in lengths_s)
    await stage.until_at_rest()
    history = stage.history
    waits = unfair_waits(history, [worker.pid for worker in pair], turn_s=TURN_S)
    assert waits == [], f"seed {seed}"
    ran_in = {start.job: start.pid for start in history.of(Started)}
    beside_the_long_one = sum(ran_in[job.id] != ran_in[jobs[0].id] for job in jobs)
    assert beside_the_long_one > JOBS // 2, "the long job held others at its worker"
    report = await stage.report()
    assert report.findings == (), str(report)
    assert report.executions == JOBS
