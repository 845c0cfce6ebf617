"""A consumer's slots, when several of its claims are on their way at once; and who wakes it."""

import asyncio
import threading
from pathlib import Path

import pytest

from taskq.broker.sqlite import SqliteBroker
from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.operation import Operation
from taskq.clock import SystemClock
from taskq.tasks.queues import Queue
from taskq.testing.clock import MovableClock
from tests.conformance.stand import Catch, consuming, publish, to, turnover


class SkewedClock(MovableClock):
    """Its time can pass without waking anybody who sleeps: a timer that is late."""

    skew = 0.0

    def now(self) -> float:
        return super().now() + self.skew


class Gate(Operation[None]):
    """Holds up the thread until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def run(self, batch: Batch) -> None:
        assert self.opened.wait(20)


class Skew(Operation[None]):
    """Lets time pass between two operations."""

    def __init__(self, clock: SkewedClock) -> None:
        self._clock = clock

    def run(self, batch: Batch) -> None:
        self._clock.skew = 10.0


async def test_slots_that_one_claim_could_not_fill_are_filled_after_a_later_one_that_got_all() -> None:
    clock = SkewedClock()
    async with SqliteBroker("memory://slots", clock=clock) as broker:
        submitter = broker._open().submitter
        await broker.declare([Queue("work")])
        await publish(broker, to("work", b"held"))
        catch = Catch()
        consumer = await broker.consume("work", prefetch=3, deliver=catch)
        held = await catch.next()
        await publish(broker, *[to("work", b"late", not_before=clock.now() + 5) for _ in range(3)])
        await turnover(broker)
        gate = Gate()
        submitter.submit(gate)
        await asyncio.sleep(0)
        consumer.poke()  # a claim for the two free slots, which will find nothing
        await asyncio.sleep(0)
        submitter.submit(Skew(clock))
        await asyncio.sleep(0)
        settling = asyncio.ensure_future(
            held.settle()
        )  # and one for the slot that this frees, which finds one of three
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gate.opened.set()
        await settling
        await catch.take(3, within_s=5)


async def test_a_consumer_is_woken_by_another_broker_and_does_not_wait_for_its_poll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.broker.sqlite.membership.POLL_S", 3_600.0)
    url = f"sqlite:///{tmp_path / 'taskq.db'}"
    async with SqliteBroker(url, clock=SystemClock()) as worker, SqliteBroker(url, clock=SystemClock()) as publisher:
        await worker.declare([Queue("work")])
        catch, _ = await consuming(worker, "work")
        for body in (b"1", b"2", b"3"):
            await turnover(worker)
            await publish(publisher, to("work", body))
            assert await catch.settled() == body
