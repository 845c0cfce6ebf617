"""Delay: never early, within 150 ms, in the broker, and by the clock that is passed."""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

from taskq.broker.protocol import Delivery, Settlement
from taskq.tasks.queues import Queue
from taskq.testing.clock import MovableClock
from tests.conformance.stand import Stand, consuming, publish, to, turnover
from tests.support.waiting import eventually

PRECISION_S = 0.15


async def test_a_delayed_message_comes_at_its_time_and_not_before(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    catch, _ = await consuming(broker, "work")
    due = time.time() + 0.4
    await publish(broker, to("work", not_before=due))
    await catch.next()
    assert 0 <= catch.times[0] - due < PRECISION_S


async def test_an_instant_that_is_past_is_no_delay(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    catch, _ = await consuming(broker, "work")
    await publish(broker, to("work", b"1", not_before=time.time() - 60))
    assert await catch.settled() == b"1"


async def test_an_earlier_instant_that_is_published_later_is_not_missed(stand: Stand) -> None:
    publisher, worker = await stand.open(None, "work"), await stand.open()
    catch, _ = await consuming(worker, "work", prefetch=2)
    await publish(publisher, to("work", b"late", not_before=time.time() + 30))
    await turnover(worker)
    due = time.time() + 0.3
    await publish(publisher, to("work", b"soon", not_before=due))
    assert (await catch.next()).message.body == b"soon"
    assert 0 <= catch.times[0] - due < PRECISION_S


CANARY = """
import os, sys, threading, time
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
worst = 0.0
with open(sys.argv[1], "wb", buffering=0) as file:
    while not ended.is_set():
        before = time.monotonic()
        time.sleep(0.005)
        file.write(b"x" * 4096)
        os.fsync(file.fileno())
        worst = max(worst, time.monotonic() - before - 0.005)
print(worst)
"""


class Canary:
    """A process of its own that measures how late this machine and its disk are, whatever the broker does."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", CANARY, str(folder / "canary")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def worst_s(self) -> float:
        """End it, and return the longest delay that it saw."""
        return float(self._process.communicate()[0])


async def test_a_thousand_delayed_messages_are_never_early_and_never_late(stand: Stand, tmp_path: Path) -> None:
    canary = Canary(tmp_path)
    broker = await stand.open(None, "work")
    chance = random.Random(7)
    start = time.time() + 0.5
    # 500 of them within one second, the others spread over four
    dues = [start + 0.5 + chance.random() for _ in range(500)] + [start + 4 * chance.random() for _ in range(500)]
    await publish(broker, *[to("work", b"%r" % due, not_before=due) for due in dues])
    slips: list[float] = []
    settling: set[asyncio.Task[Settlement]] = set()

    def settle(delivery: Delivery) -> None:
        slips.append(time.time() - float(delivery.message.body))
        settling.add(asyncio.ensure_future(delivery.settle()))

    for _ in range(2):
        await broker.consume("work", prefetch=10, deliver=settle)
    await eventually(lambda: len(slips) >= 1000, "all arrived", detail=lambda: len(slips))
    await asyncio.gather(*settling)
    # The promise is for an idle machine. Timer, thread and loop each wait for their turn on a busy one.
    stalled_s = 3 * canary.worst_s()
    assert len(slips) == 1000
    assert min(slips) >= 0
    assert max(slips) < PRECISION_S + stalled_s


async def test_a_delay_waits_in_the_broker_and_not_in_the_process(lasting: Stand) -> None:
    due = time.time() + 0.8
    async with lasting.new() as first:
        await first.declare([Queue("work")])
        await publish(first, to("work", not_before=due))
    catch, _ = await consuming(await lasting.open(), "work")
    await catch.next()
    assert 0 <= catch.times[0] - due < PRECISION_S


async def test_a_replacement_can_be_delayed(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    await publish(broker, to("work"))
    catch, _ = await consuming(broker, "work")
    due = time.time() + 0.3
    await (await catch.next()).settle([to("work", b"again", not_before=due)])
    assert await catch.settled() == b"again"
    assert 0 <= catch.times[1] - due < PRECISION_S


async def test_delays_follow_a_clock_that_is_moved(stand: Stand) -> None:
    clock = MovableClock()
    broker = await stand.open(clock, "work")
    catch, _ = await consuming(broker, "work")
    steps = (0.1, 1 / 3, 7.7, 3_600.0, 86_400.1)
    for step in steps:
        due = clock.now() + step
        await publish(broker, to("work", b"%r" % due, not_before=due))
        await turnover(broker)
        clock.advance(step * 0.99)
        await turnover(broker)
        assert catch.empty
        clock.advance(due - clock.now())
        assert await catch.settled() == b"%r" % due
        await turnover(broker)


async def test_deliveries_stay_ours_when_the_clock_is_moved_far(stand: Stand) -> None:
    clock = MovableClock()
    broker = await stand.open(clock, "work")
    await stand.open(clock)
    catch, _ = await consuming(broker, "work")
    await publish(broker, to("work"))
    delivery = await catch.next()
    for _ in range(3):
        clock.advance(3_600)
        await turnover(broker)
    assert (await delivery.settle()).value == "done"
