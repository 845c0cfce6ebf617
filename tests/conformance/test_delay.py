"""Delay: never early, within 150 ms, in the broker, and by the clock that is passed."""

import asyncio
import random
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest

from taskq.broker.protocol import Settlement
from taskq.tasks.queues import Queue
from taskq.testing.clock import MovableClock
from tests.conformance.stand import Stand, consuming, publish, to, turnover
from tests.support.stalls import Stall, Watch, stood_still_s, watching

pytestmark = pytest.mark.alone

LATEST_S = 0.15


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """The promise is for an idle machine: for how long it stood still is not counted."""
    with watching(tmp_path) as watch:
        yield watch


def lateness_s(stalls: Iterable[Stall], due: float, at: float) -> float:
    return at - due - stood_still_s(stalls, due, at)


def is_in_time(watch: Watch, due: float, at: float) -> bool:
    return at >= due and lateness_s(watch.stalls(), due, at) < LATEST_S


async def test_a_delayed_message_comes_at_its_time_and_not_before(stand: Stand, watch: Watch) -> None:
    await stand.prepare_delays()
    broker = await stand.open(None, "work")
    catch, _ = await consuming(broker, "work")
    due = time.time() + 0.4
    await publish(broker, to("work", not_before=due))
    await catch.next()
    assert is_in_time(watch, due, catch.times[0])


async def test_an_instant_that_is_past_is_no_delay(stand: Stand) -> None:
    broker = await stand.open(None, "work")
    catch, _ = await consuming(broker, "work")
    await publish(broker, to("work", b"1", not_before=time.time() - 60))
    assert await catch.settled() == b"1"


async def test_an_earlier_instant_that_is_published_later_is_not_missed(stand: Stand, watch: Watch) -> None:
    await stand.prepare_delays()
    publisher, worker = await stand.open(None, "work"), await stand.open()
    catch, _ = await consuming(worker, "work", prefetch=2)
    await publish(publisher, to("work", b"late", not_before=time.time() + 30))
    await turnover(worker)
    due = time.time() + 0.3
    await publish(publisher, to("work", b"soon", not_before=due))
    assert (await catch.next()).message.body == b"soon"
    assert is_in_time(watch, due, catch.times[0])


async def test_a_thousand_delayed_messages_are_never_early_and_never_late(stand: Stand, watch: Watch) -> None:
    await stand.prepare_delays()
    broker = await stand.open(None, "work")
    chance = random.Random(7)
    start = time.time() + 0.5
    # half of them within one second, the others spread over four
    dues = [start + 0.5 + chance.random() for _ in range(500)] + [start + 4 * chance.random() for _ in range(500)]
    await publish(broker, *[to("work", b"%r" % due, not_before=due) for due in dues])
    catch, _ = await consuming(broker, "work", prefetch=1000)  # none waits for another's settle
    deliveries = await catch.take(1000)
    stalls = watch.stalls()
    expected = [float(delivery.message.body) for delivery in deliveries]
    assert all(at >= due for at, due in zip(catch.times, expected, strict=True))
    assert max(map(partial(lateness_s, stalls), expected, catch.times)) < stand.late_under_load_s
    settled = await asyncio.gather(*[delivery.settle() for delivery in deliveries])
    assert settled == [Settlement.DONE] * 1000


async def test_a_delay_waits_in_the_broker_and_not_in_the_process(lasting: Stand, watch: Watch) -> None:
    await lasting.prepare_delays()
    due = time.time() + 0.8
    async with lasting.new() as first:
        await first.declare([Queue("work")])
        await publish(first, to("work", not_before=due))
    catch, _ = await consuming(await lasting.open(), "work")
    await catch.next()
    assert is_in_time(watch, due, catch.times[0])


async def test_a_replacement_can_be_delayed(stand: Stand, watch: Watch) -> None:
    await stand.prepare_delays()
    broker = await stand.open(None, "work")
    await publish(broker, to("work"))
    catch, _ = await consuming(broker, "work")
    due = time.time() + 0.3
    await (await catch.next()).settle([to("work", b"again", not_before=due)])
    assert await catch.settled() == b"again"
    assert is_in_time(watch, due, catch.times[1])


async def test_delays_follow_a_clock_that_is_moved(embedded: Stand) -> None:
    clock = MovableClock()
    broker = await embedded.open(clock, "work")
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


async def test_deliveries_stay_ours_when_the_clock_is_moved_far(embedded: Stand) -> None:
    clock = MovableClock()
    broker = await embedded.open(clock, "work")
    await embedded.open(clock)
    catch, _ = await consuming(broker, "work")
    await publish(broker, to("work"))
    delivery = await catch.next()
    for _ in range(3):
        clock.advance(3_600)
        await turnover(broker)
    assert (await delivery.settle()).value == "done"
