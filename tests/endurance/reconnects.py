"""Connections that are cut again and again, under producers, a caller, a publisher and a worker that live on."""

from __future__ import annotations

import asyncio
import random
import time
from array import array
from statistics import median, quantiles

from tests.endurance import program
from tests.endurance.brokers import Ground
from tests.endurance.outcome import Outcome, outcome
from tests.endurance.stand import Stand, acting, at_work
from tests.endurance.watch import Watch
from tests.support.tcpproxy import TcpProxy
from tests.support.waiting import until

_BACK_S = 30.0


async def run(ground: Ground, watch: Watch, *, cuts: int, samples: int, seed: int) -> Outcome:
    """Cut the connections ``cuts`` times; after each cut both are back, and a call was answered, before the next."""
    assert ground.proxy is not None
    rng, times = random.Random(seed), array("d", bytes(8 * cuts))
    began = time.monotonic()
    async with at_work(ground, watch) as stand:

        async def call() -> None:
            number = stand.number()
            assert await program.double.call(number) == 2 * number

        async def publish() -> None:
            await program.events.publish(1, key="kept.one")

        note = (lambda: stand.note(program.note), 0.01)
        async with acting(stand, note, note, (call, 0.01), (publish, 0.05)):
            for cut in range(cuts):
                times[cut] = await _cut(stand, ground.proxy, rng)
                if cut * samples // cuts != (cut + 1) * samples // cuts:
                    await stand.rest_and_sample()
        return outcome(
            stand,
            seed=seed,
            reconnects=cuts,
            connections=ground.proxy.accepted,
            seconds=round(time.monotonic() - began),
            recovery_s=f"median {median(times):.3f}, p95 {quantiles(times, n=20)[-1]:.3f}, longest {max(times):.3f}",
        )


async def _cut(stand: Stand, proxy: TcpProxy, rng: random.Random) -> float:
    """Cut both connections, and return how long after the loss of the second a call was answered."""
    before = [stand.back(role) for role in ("publish", "consume")]
    await asyncio.sleep(rng.uniform(0, 0.03))
    match rng.randrange(3):
        case 0:
            proxy.cut()
        case 1:
            proxy.reset()
        case _:
            proxy.cut_in(rng.randrange(1, 2000))

    def back() -> bool:
        return all(stand.back(role) > count for role, count in zip(("publish", "consume"), before, strict=True))

    await until(back, timeout_s=_BACK_S)
    assert await program.double.call(1) == 2
    return time.monotonic() - stand.lost_at
