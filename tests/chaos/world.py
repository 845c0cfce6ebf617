"""What a fault may touch: the broker and the ways to it, the processes, the ledger."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from typing import Generic, Protocol, TypeVar

from taskq import TaskQ
from tests.chaos.fault import GIVEN_UP_S, Fault
from tests.chaos.member import Member, Role
from tests.chaos.program import QUEUES, app
from tests.chaos.progress import ANSWERED, CONFIRMED, Progress
from tests.chaos.shiftedclock import CLOCK
from tests.support.ledger import Pen
from tests.support.waiting import eventually


class Site(Protocol):
    """A broker, and the ways to it. It is entered as an async context manager, empty, before any member is started."""

    @property
    def name(self) -> str:
        """What it is called in reports: "RabbitMQ 3.10.8", "SQLite 3.40.1"."""
        ...

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What can be broken here."""
        ...

    def url(self, role: str) -> str:
        """Return the URL that a member of that role uses; "" is the run's own, which no fault stands between."""
        ...

    async def heal(self) -> None:
        """Make everything whole that a fault may have left broken; harmless when nothing is."""
        ...

    async def leftovers(self, app: TaskQ[object]) -> list[str]:
        """Return what the broker holds that should be gone when all members have ended: claims, reply queues, …"""
        ...


S_co = TypeVar("S_co", bound=Site, covariant=True)


class Rests(Protocol):
    """A site that knows by itself when nothing waits or runs any more; it is asked before the workers end."""

    async def holds(self) -> str:
        """Say what the broker still holds outside its dead letters; "": nothing."""
        ...


class World(Generic[S_co]):
    """One run's processes, on one site. ``pen`` writes the faults down."""

    def __init__(self, site: S_co, folder: Path, variables: Mapping[str, str]) -> None:
        self.site = site
        self.folder = folder
        self.ledger = folder / "ledger"
        self.ledger.mkdir()
        self.pen = Pen(self.ledger)
        self.members: list[Member] = []
        self.progress = Progress(self.ledger)
        self._variables = variables

    @property
    def workers(self) -> list[Member]:
        return [member for member in self.members if not member.role.produces]

    @property
    def producers(self) -> list[Member]:
        return [member for member in self.members if member.role.produces]

    def launch(self, role: Role) -> Member:
        """Start a member."""
        variables = {**self._variables, "TASKQ_URL": self.site.url(role.name), CLOCK: str(self.clock_of(role.name))}
        member = Member(role, variables, self.folder)
        self.members.append(member)
        return member

    def clock_of(self, role: str) -> Path:
        """Return the file that moves the clock of the process with that role, see ``shiftedclock``."""
        return self.folder / f"clock-{role}"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[TaskQ[object]]:
        """Open the program in this process, on the site itself, past all that a fault may put between."""
        with environment({"TASKQ_URL": self.site.url("")}):
            async with app:
                yield app

    def any_worker(self, rng: Random) -> Member:
        """Return one of the workers."""
        return rng.choice(self.workers)

    def any_producer(self, rng: Random) -> Member:
        """Return one of the producers."""
        return rng.choice(self.producers)

    @contextmanager
    def fault(self, name: str, *, pid: int | None = None) -> Iterator[None]:
        """Write down that the block breaks something: one process, or more than that."""
        with self.pen.fault(name, pid=pid):
            yield

    async def hold(self, seconds: float) -> None:
        """Let something be broken for so long; no test waits for this, it is what the fault is."""
        await asyncio.sleep(seconds)

    async def until_all_get_on(
        self, since: float, *, beside: frozenset[int] = frozenset(), echo_s: float = 0.0
    ) -> float:
        """Wait until each living member got on after ``since``, and return how many seconds that took.

        ``beside``: pids that are not waited for. ``echo_s``: what began within so long after ``since`` does not count.
        Fails after a minute, naming those that do not get on.
        """

        def took() -> list[float]:
            self.progress.look()
            firsts = [self.progress.first_after(pid, since + echo_s) for pid in self._living(beside)]
            known = [first for first in firsts if first is not None]
            return [max(known, default=since) - since] if len(known) == len(firsts) else []

        what = "every process gets on"
        (seconds,) = await eventually(took, what, within_s=GIVEN_UP_S, detail=lambda: self._stuck(since))
        return float(seconds)

    def executions(self, job_id: str) -> int:
        """Return how often a job was begun so far."""
        self.progress.look()
        return self.progress.executions[job_id]

    async def until_all_ways_are_open(self, since: float) -> None:
        """Wait until each worker ran a job of every queue and each producer got a confirm and a result after ``since``.

        So no consumer and no reply queue is left behind that others stand in for.
        """

        def waiting() -> list[str]:
            self.progress.look()
            ways = {member: (CONFIRMED, ANSWERED) if member.role.produces else QUEUES for member in self.members}
            return [
                f"{member.role.name} {member.pid}: {way}"
                for member, names in ways.items()
                for way in names
                if self.progress.last.get((member.pid, way), 0.0) < since
            ]

        def told() -> str:
            return "\n".join([*waiting(), self._stuck(since)])

        await eventually(lambda: not waiting(), "every way is open", within_s=GIVEN_UP_S, look_s=0.1, detail=told)

    def close(self) -> None:
        """Kill all members, close the ledger."""
        for member in self.members:
            member.close()
        self.pen.close()

    def _living(self, beside: frozenset[int]) -> set[int]:
        return {member.pid for member in self.members if member.alive} - beside

    def _stuck(self, since: float) -> str:
        living = self._living(frozenset())
        stuck = [each for each in self.members if each.pid in living]
        stuck = [each for each in stuck if self.progress.first_after(each.pid, since) is None]
        return "\n".join(f"--- {each.role.name} {each.pid}\n{each.log[-4000:]}" for each in stuck)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these variables in the environment of this process inside the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
