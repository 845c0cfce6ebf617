"""Deadlines that move with progress, and what they say at their end."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from taskq.broker.amqp.lifeline import Lifeline
from taskq.broker.amqp.patience import Patience, Progress
from taskq.errors import BrokerBlocked, BrokerError, BrokerUnreachable, Unroutable

SHORT_S = 0.05


@dataclass
class Connection:
    """Stands for a lifeline."""

    current: object = "a link"
    blocked: str | None = None

    def trouble(self) -> BrokerError:
        return BrokerUnreachable("the broker cannot be reached: nothing listens there")


@dataclass
class Connections:
    connection: Connection = field(default_factory=Connection)
    label: str = "amqp://here/"
    closed: bool = False

    @property
    def lifelines(self) -> tuple[Lifeline, ...]:
        return (cast("Lifeline", self.connection),)


async def never(progress: Progress) -> None:
    await asyncio.Event().wait()


async def test_work_that_gets_on_may_take_longer_than_the_deadline() -> None:
    began = asyncio.get_running_loop().time()

    async def work(progress: Progress) -> str:
        progress.begin("declared {} queues", 4)
        for _ in range(4):
            await asyncio.sleep(0.6 * SHORT_S)
            progress.step()
        return "done"

    assert await Patience(Connections(), SHORT_S).through(work) == "done"
    assert asyncio.get_running_loop().time() - began > 2 * SHORT_S


async def test_work_that_stops_getting_on_says_how_far_it_got() -> None:
    async def work(progress: Progress) -> None:
        progress.begin("declared {} queues", 1100)
        progress.step(800)
        await never(progress)

    with pytest.raises(BrokerUnreachable) as caught:
        await Patience(Connections(), SHORT_S).through(work)
    assert "has not answered for 0.05 s (until then: declared 800 of 1,100 queues)" in str(caught.value)


async def test_the_same_steps_after_a_lost_connection_are_no_progress() -> None:
    tries = 0

    async def work(progress: Progress) -> None:
        nonlocal tries
        tries += 1
        progress.begin("declared {} queues", 100)
        progress.step(10)
        raise BrokerUnreachable("lost")

    with pytest.raises(BrokerUnreachable, match="until then: declared 10 of 100 queues"):
        await Patience(Connections(), 4 * SHORT_S).through(work)
    assert 2 <= tries < 10


async def test_a_connection_that_is_away_is_the_reason() -> None:
    away = Connections(Connection(current=None))
    with pytest.raises(BrokerUnreachable, match="nothing listens there"):
        await Patience(away, SHORT_S).once(never)


async def test_an_alarm_is_the_reason() -> None:
    with pytest.raises(BrokerBlocked, match="takes nothing at the moment: low on disk"):
        await Patience(Connections(Connection(blocked="low on disk")), SHORT_S).once(never)


async def test_errors_pass_and_only_a_lost_connection_is_tried_again() -> None:
    errors: list[Exception] = [BrokerUnreachable("lost"), Unroutable("q")]
    kinds: list[type[Exception]] = []

    async def work(progress: Progress) -> None:
        kinds.append(type(errors[0]))
        raise errors.pop(0)

    with pytest.raises(Unroutable):
        await Patience(Connections(), 5).through(work)
    assert kinds == [BrokerUnreachable, Unroutable]
    with pytest.raises(TimeoutError, match="their own"):
        await Patience(Connections(), 5).once(failing(TimeoutError("their own")))


async def test_nothing_is_tried_again_when_the_program_closed_it() -> None:
    with pytest.raises(BrokerUnreachable, match="closed by this program"):
        await Patience(Connections(closed=True), 5).through(failing(BrokerUnreachable("closed by this program")))


def failing(error: Exception) -> Any:
    async def work(progress: Progress) -> None:
        raise error

    return work
