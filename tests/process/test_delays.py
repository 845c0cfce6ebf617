"""Delays: never early, and within 150 ms of their time.

The promise is for an idle machine: what the machine itself stood still for is not counted, see
`tests/support/stalls.py`.
"""

import random
import time
from datetime import UTC, datetime

import pytest

from taskq import BoundCall
from tests.support.ledger import Started, Wanted
from tests.support.program import work
from tests.support.stage import Stage
from tests.support.stalls import stood_still_s, watching
from tests.support.waiting import eventually

pytestmark = pytest.mark.alone

JOBS = 1000
CROWD = 500
LATEST_S = 0.150
LATEST_IN_LADDER_S = 1.5  # RabbitMQ takes many steps for each of a thousand delays


def delays_s(rng: random.Random) -> list[float]:
    """Return 1,000 delays of 0.2 to 5 seconds; half of them end within one second, the third one."""
    return [rng.uniform(2.0, 3.0) if n < CROWD else rng.uniform(0.2, 5.0) for n in range(JOBS)]


def delayed(delay_s: float) -> BoundCall[str]:
    return work.with_options(at=datetime.fromtimestamp(time.time() + delay_s, UTC)).bind()


def distribution(lateness_s: list[float]) -> str:
    """Return how late jobs were, in milliseconds: the text of a failure, and of what to compare with."""
    ranked = sorted(lateness_s)
    points = {"least": 0.0, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "most": 1.0}
    return ", ".join(f"{name} {ranked[round(at * (len(ranked) - 1))] * 1000:.1f} ms" for name, at in points.items())


async def test_delayed_jobs_are_never_early_and_at_most_150_ms_late(stage: Stage) -> None:
    await stage.prepare_delays()
    await stage.workers.start("--queue", "work=10")
    seed = random.randrange(2**32)
    delays = sorted(delays_s(random.Random(seed)))  # the soonest first, so that none is due before it is sent
    with watching(stage.folder) as watch:
        sent = time.time()
        for first in range(0, JOBS, 50):
            await stage.enqueue_all(delayed(delay_s) for delay_s in delays[first : first + 50])
        await eventually(lambda: time.time() > sent + delays[-1], "all are due")  # reading the ledger is work, too
        await stage.until_returned(JOBS)
        stalls = watch.stalls()
    history = stage.history
    due = {wanted.job: wanted.not_before or 0.0 for wanted in history.of(Wanted)}
    starts = history.of(Started)
    lateness_s = [start.at - due[start.job] for start in starts]
    told = f"{distribution(lateness_s)}; the machine stood still {len(stalls)} times (seed {seed})"
    print(told)
    assert len(lateness_s) == JOBS
    assert min(lateness_s) >= 0.0, told
    our_own_s = [start.at - due[start.job] - stood_still_s(stalls, due[start.job], start.at) for start in starts]
    latest_s = LATEST_S if stage.embedded else LATEST_IN_LADDER_S
    assert max(our_own_s) <= latest_s, f"{told}; without that: {distribution(our_own_s)}"
    report = await stage.report()
    assert report.findings == (), str(report)
