"""When a burst is over."""

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from taskq.broker.protocol import QueueState
from taskq.lifecycle import Emitter
from taskq.testing import MovableClock
from taskq.worker.burst import is_drained
from taskq.worker.pipeline import Pipeline, Tally
from taskq.worker.processes import Processes
from tests.support.jobs import catalogue


def pipeline(*states: QueueState, retry_in_s: float | None = None) -> Pipeline:
    async def queues() -> list[QueueState]:
        return list(states)

    clock = MovableClock()
    broker: Any = SimpleNamespace(inspector=SimpleNamespace(queues=queues))
    return Pipeline(
        broker=broker,
        clock=clock,
        catalogue=catalogue(),
        slots={"own": 1},
        middleware=(),
        emitter=Emitter(),
        max_result_bytes=1,
        processes=Processes(),
        rng=Random(1),
        tally=Tally(last_retry_at=0.0 if retry_in_s is None else clock.now() + retry_in_s),
    )


def state(name: str, *, ready: int = 0, unsettled: int = 0, delayed: int | None = 0) -> QueueState:
    return QueueState(name, ready, unsettled, delayed, consumers=1)


@pytest.mark.parametrize(
    ("states", "retry_in_s", "drained"),
    [
        ([state("own")], None, True),
        ([], None, True),
        ([state("own", ready=1)], None, False),
        ([state("own"), state("other", ready=1)], None, True),
        ([state("own", unsettled=1)], None, True),  # another worker's
        ([state("own", delayed=1)], None, True),  # delayed by somebody else
        ([state("own", delayed=1)], 10.0, False),
        ([state("own", delayed=1)], -1.0, False),  # due just now, and not yet counted as ready
        ([state("own", delayed=1)], -10.0, True),
        ([state("own", delayed=None)], None, True),
        ([state("own", delayed=None)], 10.0, False),  # a broker that does not tell may still hold it
        ([state("own", delayed=None)], -10.0, True),
        ([state("own")], 10.0, True),  # another worker took it, or it was dropped
    ],
)
async def test_burst_is_over_when_nothing_is_ready_and_no_retry_of_its_own_is_on_its_way(
    states: list[QueueState], retry_in_s: float | None, drained: bool
) -> None:
    assert await is_drained(pipeline(*states, retry_in_s=retry_in_s)) is drained
