"""A run: members under load, strokes of faults for a time, then rest, and the comparison with what is promised.

The end. Everything is healed, producers are asked to end and wait for their results, the workers go on until no queue
holds anything, and are asked to end. Only then the ledgers are compared with what the broker holds.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from tests.chaos.fault import Fault, Struck
from tests.chaos.member import Member, producer, worker
from tests.chaos.outcome import Outcome, Tried
from tests.chaos.plan import Stroke, strokes
from tests.chaos.program import LEDGER, app
from tests.chaos.shape import Shape
from tests.chaos.world import Site, World
from tests.support.ledger import Answered, Kind, Refused, Report, Unanswered
from tests.support.stage import Stage
from tests.support.waiting import eventually
from tests.support.workers import Workers

_ENDS_S = 90.0  # as long as a caller waits for its result, and then some
_RESTS_S = 90.0
_SETTLED_S = 5.0  # a delivery is settled that long after its execution, while the broker can be reached
_ALL_WAYS_EVERY = 10  # strokes


class Run:
    """A run on a site that is open. ``tell`` gets a line for each stroke."""

    def __init__(
        self,
        site: Site,
        folder: Path,
        *,
        seed: int,
        shape: Shape,
        command: str = "",
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        ours = {LEDGER: str(folder / "ledger"), "TASKQ_LOG_FORMAT": "json", "TASKQ_LOG_LEVEL": "WARNING"}
        variables: dict[str, str] = getattr(site, "variables", {})  # what a site wants of its members
        self.world: World[Site] = World(site, folder, {**ours, **variables})
        self._seed = seed
        self._shape = shape
        self._command = command
        self._began = time.time()
        self._tell = tell
        self._tried: list[Tried] = []

    async def carry_out(self, *, seconds: float, most: int | None = None) -> Outcome:
        """Break things for so long, or so often, and return what was found. Raises when a process does not get on."""
        began = self._began = time.time()
        try:
            await self._begin()
            for stroke in strokes(self.world.site.faults, self._seed):
                if time.time() - began > seconds or (most is not None and len(self._tried) >= most):
                    break
                await asyncio.sleep(stroke.pause_s)
                await self._carry_out(stroke)
            await self._come_to_rest()
            return await self._outcome(time.time() - began)
        finally:
            self.world.close()

    async def _begin(self) -> None:
        for name in self._shape.worker_names:
            self.world.launch(worker(name, concurrency=self._shape.concurrency))
        for number, name in enumerate(self._shape.producer_names):
            seed = self._seed * 1000 + number
            self.world.launch(producer(name, self.world.ledger, seed=seed, rate=self._shape.rate))
        await self.world.until_all_get_on(0.0)

    async def _carry_out(self, stroke: Stroke) -> None:
        names = " + ".join(fault.name for fault, _ in stroke.faults)
        began = time.time()
        struck = await asyncio.gather(*(self._strike(fault, seed) for fault, seed in stroke.faults))
        since = max(each.healed_at for each in struck)
        hit = frozenset().union(*(each.hit for each in struck))
        took = await self.world.until_all_get_on(since, beside=hit, echo_s=max(each.echo_s for each in struck))
        await self._start_the_dead_again()
        if stroke.number % _ALL_WAYS_EVERY == _ALL_WAYS_EVERY - 1:
            await self.world.until_all_ways_are_open(since)
        alone = len(struck) == 1
        for (fault, _), each in zip(stroke.faults, struck, strict=True):
            tried = Tried(
                name=fault.name,
                stroke=stroke.number,
                at=round(began - self._began, 3),
                lasted_s=round(each.healed_at - began, 3),
                recovered_s=round(took, 3) if alone else None,
                bound_s=fault.bound_s,
            )
            self._tried.append(tried)
        self._tell(f"{stroke.number:4} {names}: {since - began:.1f} s, all get on after {took:.2f} s")

    async def _strike(self, fault: Fault, seed: int) -> Struck:
        return await fault.strike(self.world, Random(seed))

    async def _start_the_dead_again(self) -> None:
        now = time.time()
        dead = [member for member in self.world.members if not member.alive]
        for member in dead:
            assert member.asked_to_end, f"{member.role.name} ended by itself:\n{member.log[-4000:]}"
            member.start_again()
        if dead:
            await self.world.until_all_get_on(now)

    async def _come_to_rest(self) -> None:
        await self.world.site.heal()
        await self.world.until_all_ways_are_open(time.time())
        await self._end(self.world.producers)
        async with self._stage() as stage:
            await stage.until_at_rest(within_s=_RESTS_S)
        await self._until_site_rests()
        await self._end(self.world.workers)

    async def _until_site_rests(self) -> None:
        holds = getattr(self.world.site, "holds", None)  # of a site that also implements Rests
        if holds is None:
            return
        said = ""

        async def at_rest() -> bool:
            nonlocal said
            said = await holds()
            return not said

        await eventually(at_rest, "the broker holds nothing", within_s=_RESTS_S, look_s=0.2, detail=lambda: said)

    async def _end(self, members: list[Member]) -> None:
        for member in members:
            member.send(signal.SIGTERM)
        for member in members:
            status = await member.ended(within_s=_ENDS_S)
            assert status == 0, f"{member.role.name} ended with {status}:\n{member.log[-4000:]}"

    async def _outcome(self, seconds: float) -> Outcome:
        async with self._stage() as stage:
            report = await stage.report(settle_within_s=_SETTLED_S)
            leftovers = await self.world.site.leftovers(app)
            history = stage.history
        return Outcome(
            site=self.world.site.name,
            seed=self._seed,
            seconds=round(seconds, 1),
            confirmed=report.confirmed,
            executions=report.executions,
            dead=report.dead,
            answered=len(history.of(Answered)),
            unanswered=len(history.of(Unanswered)),
            refused=len(history.of(Refused)),
            lost=len(report.of(Kind.LOST)),
            duplicates=len(report.of(Kind.DUPLICATED)),
            duplicates_by=_blamed(report),
            tried=tuple(self._tried),
            violations=tuple(map(str, report.violations)),
            leftovers=tuple(leftovers),
            command=self._command,
        )

    @asynccontextmanager
    async def _stage(self) -> AsyncIterator[Stage]:
        """Open the program in this process, to look at its queues."""
        async with self.world.opened() as opened:
            workers = Workers(self.world.folder, {})
            yield Stage(folder=self.world.folder, app=opened, workers=workers, pen=self.world.pen)


def _blamed(report: Report) -> dict[str, int]:
    """Count each explained duplicate with the last of the faults that may explain it."""
    return dict(Counter(finding.faults[-1].what for finding in report.of(Kind.DUPLICATED) if finding.faults))
