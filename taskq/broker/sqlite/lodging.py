"""Which engine a broker uses: one of its own for a file, one for all brokers of a database in memory.

The table of databases in memory is the only state of this module: the same URL means the same database within one
process, and it vanishes with its last broker.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

from taskq.broker.sqlite.doorbell import Doorbell
from taskq.broker.sqlite.engine import Engine
from taskq.broker.sqlite.household import Household
from taskq.broker.sqlite.location import Location
from taskq.broker.sqlite.process import this_process
from taskq.broker.sqlite.seating import MoveOut
from taskq.broker.sqlite.submitter import Submitter
from taskq.clock import Clock

_END_S = 5.0

_in_memory: dict[str, Lodging] = {}
_lock = threading.Lock()


@dataclass(slots=True)
class Lodging:
    """An engine, its household, and how many brokers use them."""

    engine: Engine
    household: Household
    guests: int = 0

    async def say_goodbye(self, submitter: Submitter) -> None:
        """Remove our row, when it is ours alone."""
        if self.household.doorbell is not None:
            await submitter.submit(MoveOut(self.household))

    async def leave(self) -> None:
        """Close the engine with its last guest, and wait for the end of its thread."""
        with _lock:
            self.guests -= 1
            if self.guests:
                return
            if _in_memory.get(self.engine.location.label) is self:
                del _in_memory[self.engine.location.label]
        self.engine.close()
        await asyncio.wait([asyncio.wrap_future(self.engine.ended)], timeout=_END_S)
        if self.household.doorbell is not None:
            self.household.doorbell.close(asyncio.get_running_loop())


def lodge(location: Location, clock: Clock, lease_s: float, timeout_s: float) -> Lodging:
    """Return the engine for ``location``, with one guest more."""
    with _lock:
        lodging = _in_memory.get(location.label) if location.path is None else None
        if lodging is None:
            doorbell = Doorbell() if location.path is not None else None
            household = Household(this_process(), clock, lease_s, doorbell)
            lodging = Lodging(Engine(location, timeout_s, household), household)
            if location.path is None:
                _in_memory[location.label] = lodging
        lodging.guests += 1
        return lodging
