"""What a fault is: a name, and a coroutine function that breaks something, holds it, heals it, and says when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """What a fault did. ``healed_at``: from when on the system can recover (seconds since the epoch).

    For most it is when what was broken is whole again; for a connection that was cut, when it was cut; for a black hole
    that new connections pass by, when it opened. ``hit``: the pids that cannot recover, since they were killed.
    ``echo_s``: what begins within so long after ``healed_at`` may still come of what had arrived before, and says
    nothing about a recovery.
    """

    healed_at: float
    echo_s: float = 0.0
    hit: frozenset[int] = frozenset()


Strike = Callable[["World", Random], Awaitable[Struck]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A way of breaking something. It returns when all is whole again, and leaves a record in the ledger.

    ``breaks``: what it takes for itself ("a worker", "the network", "the broker", …): two faults at the same time never
    share one. ``weight``: how often it is drawn, beside others. ``bound_s``: within how many seconds of ``healed_at``
    every process has to get on, where that is promised; beyond :data:`GIVEN_UP_S` a run fails in any case.
    """

    name: str
    strike: Strike
    breaks: frozenset[str]
    weight: float = 1
    bound_s: float | None = None


GIVEN_UP_S = 60.0
