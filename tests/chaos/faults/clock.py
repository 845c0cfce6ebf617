"""Clocks that are set while a program runs: the wall clock of one member; the monotonic one never jumps."""

from __future__ import annotations

import time
from random import Random
from typing import Any

from tests.chaos.fault import Fault, Struck
from tests.chaos.shiftedclock import shift
from tests.chaos.world import World
from tests.support.ledger.records import CLOCK_JUMP

# Back by no more than a run can wait: what is sent in that very moment is late by as much.
_JUMPS_S = (-2.0, -0.5, 0.5, 5.0, 60.0, 3600.0, 86_400.0)


async def jump(world: World[Any], rng: Random) -> Struck:
    """Set the wall clock of a member forward or back, and right again after a moment."""
    victim = rng.choice(world.members)
    path = world.clock_of(victim.role.name)
    with world.fault(CLOCK_JUMP, pid=victim.pid):
        shift(path, rng.choice(_JUMPS_S))
        await world.hold(rng.uniform(0.3, 1.5))
        shift(path, 0.0)
    return Struck(healed_at=time.time())


FAULTS = (Fault(name=CLOCK_JUMP, strike=jump, breaks=frozenset({"clock"}), weight=2),)
