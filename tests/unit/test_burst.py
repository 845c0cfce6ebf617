"""When a burst is over."""

import asyncio
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from taskq.broker.protocol import QueueState
from taskq.errors import BrokerUnreachable
from taskq.lifecycle import Emitter
from taskq.testing import MovableClock
from taskq.worker import burst
from taskq.worker.burst import is_drained
from taskq.worker.pipeline import Pipeline, Tally
from taskq.worker.processes import Processes
from tests.support.jobs import catalogue

Look = list[QueueState] | Exception


class Looks:
    """An inspector that answers with one look after the other, and with the last one from then on."""

    def __init__(self, *looks: Look) -> None:
        self._left = list(looks)
        self.taken = 0

    async def queues(self) -> list[QueueState]:
        self.taken += 1
        look = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        if isinstance(look, Exception):
            raise look
        return look


class Silence:
    """An inspector whose broker never answers."""

    async def queues(self) -> list[QueueState]:
        await asyncio.Event().wait()
        return []


def pipeline(inspector: Looks | Silence, *, retry_in_s: float | None = None) -> Pipeline:
    clock = MovableClock()
    broker: Any = SimpleNamespace(inspector=inspector)
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


def state(name: str, *, ready: int = 0, unsettled: int | None = 0, delayed: int | None = 0) -> QueueState:
    return QueueState(name, ready, unsettled, delayed, consumers=1)


def untold(name: str, *, ready: int = 0) -> QueueState:
    """Return a queue of a broker that tells neither what is unsettled nor what is delayed."""
    return state(name, ready=ready, unsettled=None, delayed=None)


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
        ([untold("own")], None, True),
        ([untold("own")], 10.0, False),  # a broker that does not tell may still hold it
        ([untold("own")], -10.0, True),
        ([state("own")], 10.0, True),  # another worker took it, or it was dropped
    ],
)
async def test_burst_is_over_when_nothing_is_ready_and_no_retry_of_its_own_is_on_its_way(
    states: list[QueueState], retry_in_s: float | None, drained: bool
) -> None:
    assert await is_drained(pipeline(Looks(states), retry_in_s=retry_in_s)) is drained


@pytest.mark.parametrize(("own", "looks"), [(state("own"), 1), (state("own", unsettled=1), 1), (untold("own"), 2)])
async def test_broker_that_does_not_tell_what_is_unsettled_is_asked_twice(own: QueueState, looks: int) -> None:
    inspector = Looks([own])
    assert await is_drained(pipeline(inspector))
    assert inspector.taken == looks


async def test_job_that_comes_between_two_looks_goes_on_with_the_burst() -> None:
    assert not await is_drained(pipeline(Looks([untold("own")], [untold("own", ready=1)])))


async def test_connection_that_is_lost_during_a_look_does_not_end_the_worker() -> None:
    assert await is_drained(pipeline(Looks(BrokerUnreachable("lost"), [state("own")])))


async def test_broker_that_cannot_be_looked_at_ends_the_worker() -> None:
    with pytest.raises(BrokerUnreachable):
        await is_drained(pipeline(Looks(BrokerUnreachable("the file is damaged"))))


async def test_broker_that_is_away_holds_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burst, "_PATIENCE_S", 0.01)
    assert not await is_drained(pipeline(Silence()))
