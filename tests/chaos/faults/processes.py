"""Processes that are killed, paused and told to stop, on any site."""

from __future__ import annotations

import signal
import time
from random import Random
from typing import Any

from tests.chaos.fault import Fault, Struck
from tests.chaos.member import Member
from tests.chaos.world import World

_ENDS_S = 30.0


async def kill_worker(world: World[Any], rng: Random) -> Struck:
    """SIGKILL a worker in the middle of its jobs."""
    return await _killed(world, world.any_worker(rng), "worker SIGKILL")


async def kill_producer(world: World[Any], rng: Random) -> Struck:
    """SIGKILL a producer between publishes and their confirms; its calls have no caller any more."""
    return await _killed(world, world.any_producer(rng), "producer SIGKILL")


async def stop_worker(world: World[Any], rng: Random) -> Struck:
    """SIGTERM a worker: it hands back what it cannot finish, and ends with 0."""
    victim = world.any_worker(rng)
    with world.fault("worker SIGTERM", pid=victim.pid):
        victim.send(signal.SIGTERM)
        status = await victim.ended(within_s=_ENDS_S)
    assert status == 0, f"it ended with {status}:\n{victim.log[-4000:]}"
    return Struck(healed_at=time.time(), hit=frozenset({victim.pid}))


async def pause_worker(world: World[Any], rng: Random) -> Struck:
    """SIGSTOP a worker for a moment, and let it go on."""
    victim = world.any_worker(rng)
    with world.fault("worker SIGSTOP", pid=victim.pid):
        victim.send(signal.SIGSTOP)
        await world.hold(rng.uniform(0.1, 2.0))
        victim.send(signal.SIGCONT)
    return Struck(healed_at=time.time())


async def _killed(world: World[Any], victim: Member, name: str) -> Struck:
    with world.fault(name, pid=victim.pid):
        victim.send(signal.SIGKILL)
        await victim.ended(within_s=_ENDS_S)
    return Struck(healed_at=time.time(), hit=frozenset({victim.pid}))


FAULTS = (
    Fault(name="worker SIGKILL", strike=kill_worker, breaks=frozenset({"worker"}), weight=3),
    Fault(name="worker SIGTERM", strike=stop_worker, breaks=frozenset({"worker"})),
    Fault(name="worker SIGSTOP", strike=pause_worker, breaks=frozenset({"worker"})),
    Fault(name="producer SIGKILL", strike=kill_producer, breaks=frozenset({"producer"})),
)
