"""The simulated machine: its time, its processes, and who is next.

Theory of operation. Whatever can run at this instant (the loop of a process, the thread of its engine) is a candidate,
and the seed chooses one for a few callbacks. When nothing can run, time jumps to the next instant at which something
can. So every interleaving of the processes and threads of a real machine can come up, a program that waits for an hour
costs nothing, and one seed is one history.
"""

from __future__ import annotations

import asyncio
import heapq
import traceback
import zlib
from collections.abc import Callable, Coroutine
from itertools import count
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from taskq.broker.sqlite.process import Process
from taskq.errors import BrokerError
from tests.simulation.faults import Faults
from tests.simulation.loop import VirtualLoop
from tests.simulation.process import SimulatedProcess, VirtualThread

START = 1_750_000_000.0
"""Where the wall clock begins."""

Main = Callable[[SimulatedProcess], Coroutine[Any, Any, None]]

_BURSTS = (1, 1, 1, 2, 3, 5, 10, 30)
_FIRST_PID = 100


class Stuck(Exception):
    """Nothing can ever happen any more, or it never ends."""


class VirtualClock:
    """Implements :class:`taskq.clock.Clock`. Wall time may be set; monotonic time is the world's."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.wall

    def monotonic(self) -> float:
        return self._world.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class World:
    """``chance`` draws what happens; everything that depends on it is the same in each run of one seed."""

    def __init__(self, seed: int, path: Path, *, tell: bool) -> None:
        self.seed = seed
        self.path = path
        self.chance = Random(f"{seed}: schedule")
        self.now = 1_000.0
        self.clock = VirtualClock(self)
        self.faults = Faults(self, Random(f"{seed}: faults"))
        self.processes: list[SimulatedProcess] = []
        self.thread: VirtualThread | None = None
        self.holder: VirtualThread | None = None
        self.steps = 0
        self.digest = 0
        self.complaints: list[str] = []
        self.trace: list[str] = []
        self.running = True
        self._tell = tell
        self._tick = self.chance.choice((0.0, 1e-6, 1e-5, 2e-4))
        self._jumps: list[tuple[float, float]] = [(0.0, START - self.now)]
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._arrivals: list[tuple[float, int, VirtualLoop, asyncio.Handle]] = []
        self._numbers = count()
        self._pids = count(_FIRST_PID)

    # What is told.

    def note(self, text: str) -> None:
        """Write a line into the trace."""
        line = f"{self.now:12.6f} {text}"
        self.digest = zlib.crc32(line.encode(errors="replace"), self.digest)
        self.trace.append(line)

    def complain(self, text: str) -> None:
        """Take down what must not happen."""
        if self.running:
            self.note(f"COMPLAINT {text}")
            self.complaints.append(text)

    # Time.

    @property
    def wall(self) -> float:
        """The wall clock, which jumps."""
        return self.now + self._jumps[-1][1]

    @property
    def jumped(self) -> bool:
        """Whether the wall clock was ever set."""
        return len(self._jumps) > 1

    def set_wall(self, by: float) -> None:
        """Set the wall clock forward or back."""
        self._jumps.append((self.now, self._jumps[-1][1] + by))

    def reached(self, wall: float) -> float:
        """Return when, in monotonic time, the wall clock showed ``wall`` for the first time."""
        for (since, offset), (until, _) in zip(self._jumps, [*self._jumps[1:], (inf, 0.0)], strict=True):
            at = max(since, wall - offset)
            if at < until:
                return at
        return inf

    def walls_since(self, at: float) -> tuple[float, float]:
        """Return the earliest and the latest that the wall clock has shown since an instant."""
        shown: list[float] = []
        for (since, offset), (until, _) in zip(self._jumps, [*self._jumps[1:], (self.now, 0.0)], strict=True):
            if until >= at:
                shown += [max(since, at) + offset, until + offset]
        return min(shown), max(shown)

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Do something at an instant."""
        heapq.heappush(self._agenda, (when, next(self._numbers), do))

    # Processes.

    def begin(self, name: str, role: str, main: Main) -> SimulatedProcess:
        """Start a process."""
        process = SimulatedProcess(self, name, next(self._pids), role)
        self.processes.append(process)
        process.start(main(process))
        self.note(f"{name} starts, pid {process.pid}")
        return process

    def living(self, role: str = "") -> list[SimulatedProcess]:
        """Return the processes that live."""
        return [process for process in self.processes if process.alive and role in ("", process.role)]

    def is_gone(self, other: Process) -> bool:
        """Say whether a process has ended."""
        return not any(process.pid == other.pid and process.alive for process in self.processes)

    def is_locked_for(self, thread: VirtualThread) -> bool:
        """Say whether another one is in a transaction that writes."""
        holder = self.holder
        return holder is not None and holder is not thread and not holder.ended and self.now < holder.busy_until

    def arrive(self, loop: VirtualLoop, handle: asyncio.Handle) -> None:
        """Let what a thread hands over reach ``loop`` when its turn is over, in the order of handing over."""
        at = self.now + (self.thread.lasts if self.thread is not None else self.faults.hop())
        loop.last_arrival = at = max(at, loop.last_arrival)
        heapq.heappush(self._arrivals, (at, next(self._numbers), loop, handle))

    def send(self, port: int, queue: int) -> None:
        """Send a datagram, which may be lost."""
        delay = self.faults.datagram()
        if delay is not None:
            self.at(self.now + delay, lambda: self._receive(port, queue))

    def _receive(self, port: int, queue: int) -> None:
        for process in self.processes:
            if process.alive and process.pid == port and process.datagrams is not None:
                process.datagrams.receive(queue)

    # Running.

    def run(self, until: Callable[[], bool], *, within_s: float, steps: int = 400_000) -> bool:
        """Run until something holds; say whether it does. It is looked at whenever time has passed.

        Raises :class:`Stuck` when nothing can happen any more.
        """
        end = self.now + within_s
        last = self.steps + steps
        while not until():
            if self.now > end:
                return False
            if self.steps > last:
                raise Stuck(f"{steps} callbacks, and no end")
            self._run_instant(last)
            self._advance()
        return True

    def _run_instant(self, last: int) -> None:
        """Run everything that can run at this instant."""
        while self.steps <= last:
            self._take_arrivals()
            candidates = self._candidates()
            if not candidates:
                return
            self._run_some(self.chance.choice(candidates) if len(candidates) > 1 else candidates[0])

    def _candidates(self) -> list[tuple[SimulatedProcess, VirtualThread | None]]:
        now = self.now
        found: list[tuple[SimulatedProcess, VirtualThread | None]] = []
        for process in self.processes:
            if not process.alive or process.paused_until > now:
                continue
            if process.blocked_until <= now and process.loop.is_ready():
                found.append((process, None))
            for thread in process.threads:
                if thread.next_at() <= now:
                    found.append((process, thread))
        return found

    def _run_some(self, candidate: tuple[SimulatedProcess, VirtualThread | None]) -> None:
        process, thread = candidate
        if thread is not None:
            self._stepped(process, thread.step())
            return
        for _ in range(self.chance.choice(_BURSTS)):
            self._stepped(process, process.loop.step())
            if not process.alive:
                return
            if process.main is not None and process.main.done():
                self._ended(process)
                return
            if max(process.paused_until, process.blocked_until) > self.now or not process.loop.is_ready():
                return

    def _stepped(self, process: SimulatedProcess, what: str) -> None:
        self.steps += 1
        if self._tell:
            self.note(f"    {process.name}: {what}")
        self.now += self._tick
        self.faults.step()

    def _ended(self, process: SimulatedProcess) -> None:
        assert process.main is not None
        error = None if process.main.cancelled() else process.main.exception()
        self.note(f"{process.name} ends{'' if error is None else f': {error!r}'}")
        if error is not None and not isinstance(error, BrokerError):  # a broker that fails may end a program
            text = "".join(traceback.format_exception(error))
            self.complain(f"{process.name} ended with an error: {text}")
        process.exit()

    def _take_arrivals(self) -> None:
        now, arrivals, agenda = self.now, self._arrivals, self._agenda
        while arrivals and arrivals[0][0] <= now:
            _, _, loop, handle = heapq.heappop(arrivals)
            loop.bring(handle)
        while agenda and agenda[0][0] <= now:
            heapq.heappop(agenda)[2]()

    def _advance(self) -> None:
        """Go to the next instant at which something happens."""
        at = min((process.next_at() for process in self.processes if process.alive), default=inf)
        if self._arrivals:
            at = min(at, self._arrivals[0][0])
        if self._agenda:
            at = min(at, self._agenda[0][0])
        if at == inf:
            raise Stuck("nothing can happen any more")
        self.now = max(self.now, at)

    def end(self) -> None:
        """Take everything down."""
        self.running = False
        for process in self.processes:
            if process.alive:
                process.kill()
        for process in self.processes:
            process.loop.unwind()
