"""Which engine a broker uses: one of its own for a file, one for all brokers of a database in memory.

The table of databases in memory is the only state of this module: the same URL means the same database within one
process, and it vanishes with its last broker.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from functools import partial

from taskq.broker.sqlite.engine import Engine
from taskq.broker.sqlite.location import Location
from taskq.broker.sqlite.membership import Membership
from taskq.broker.sqlite.submitter import Submitter
from taskq.broker.sqlite.subscribing import Deregister
from taskq.broker.sqlite.system import System
from taskq.broker.sqlite.wal import WalBound
from taskq.clock import Clock

_END_S = 5.0

_in_memory: dict[str, SharedEngine] = {}
_lock = threading.Lock()


@dataclass(slots=True)
class SharedEngine:
    """An engine, its membership, and how many brokers use them."""

    engine: Engine
    membership: Membership
    users: int = 0

    async def deregister(self, submitter: Submitter) -> None:
        """Remove our row, when it is ours alone. Who never wrote has none."""
        if self.membership.wakeups is not None and self.membership.row:
            await submitter.submit(Deregister(self.membership))

    async def release(self) -> None:
        """Close the engine with its last user, and wait for the end of its thread."""
        with _lock:
            self.users -= 1
            if self.users:
                return
            if _in_memory.get(self.engine.location.label) is self:
                del _in_memory[self.engine.location.label]
        self.engine.close()
        await asyncio.wait([asyncio.wrap_future(self.engine.ended)], timeout=_END_S)
        if self.membership.wakeups is not None:
            self.membership.wakeups.close(asyncio.get_running_loop())


def acquire_engine(location: Location, clock: Clock, lease_s: float, timeout_s: float, system: System) -> SharedEngine:
    """Return the engine for ``location``, with one user more."""
    with _lock:
        shared = _in_memory.get(location.label) if location.path is None else None
        if shared is None:
            shared = _new_engine(location, clock, lease_s, timeout_s, system)
            if location.path is None:
                _in_memory[location.label] = shared
        shared.users += 1
        return shared


def _new_engine(location: Location, clock: Clock, lease_s: float, timeout_s: float, system: System) -> SharedEngine:
    wakeups = system.wakeups() if location.path is not None else None
    wal = WalBound(location.path) if location.path is not None else None
    membership = Membership(system.this_process(), clock, lease_s, wakeups, wal, is_gone=system.is_gone)
    engine = Engine(location, partial(system.open_database, location, timeout_s), membership)
    system.start(engine)
    return SharedEngine(engine, membership)
