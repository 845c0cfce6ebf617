"""One seed: what is drawn, run, healed, drained, and checked."""

from __future__ import annotations

import gc
import logging
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.simulation.chance import drawn_by
from tests.simulation.checking import Oracle, judge
from tests.simulation.custody import Custody
from tests.simulation.database import new_file
from tests.simulation.faults import KINDS
from tests.simulation.load import Book, produce, work
from tests.simulation.world import Stuck, World

SHARED_MEMORY = Path("/dev/shm")
RUN_S, DRAIN_S, STOP_S = 120.0, 300.0, 120.0
"""Virtual seconds for the producers, for the queues to become empty, and for everybody to end."""

_COLLECT_EVERY = 50


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a seed. ``wrong``: what breaks a promise."""

    seed: int
    wrong: tuple[str, ...]
    trace: tuple[str, ...]
    digest: int
    callbacks: int
    virtual_s: float
    jobs: int
    faults: dict[str, int]
    duplicates: int


@contextmanager
def place() -> Iterator[Path]:
    """Yield a folder for the databases of many seeds: in memory, where there is such a file system."""
    logger = logging.getLogger("taskq")
    before, logger.disabled = logger.disabled, True
    root = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="taskq-simulation-", dir=root))
    try:
        new_file(folder)
        yield folder
    finally:
        logger.disabled = before
        shutil.rmtree(folder)


def run_seed(seed: int, folder: Path, *, tell: bool = False, only: tuple[str, ...] = ()) -> Result:
    """Run one seed. ``tell``: write every callback into the trace. ``only``: faults of these kinds strike, and many."""
    path = folder / f"{seed}.db"
    shutil.copyfile(folder / "new.db", path)
    world = World(seed, path, tell=tell)
    collected = gc.isenabled()
    gc.disable()
    try:
        with drawn_by(world):
            return _run(world, only)
    finally:
        with drawn_by(world):
            world.end()
        for leftover in folder.glob(f"{seed}.db*"):
            leftover.unlink()
        if collected:
            gc.enable()
        if seed % _COLLECT_EVERY == 0:
            gc.collect()


def _run(world: World, only: tuple[str, ...]) -> Result:
    custody = Custody(world)
    book = Book(world, custody, [], set(), {}, {})
    wrong: list[str] = []
    with Oracle(world.path) as oracle:
        try:
            _story(world, book, oracle, only)
            wrong += oracle.left_behind([process for process in world.processes if process.was_cut])
        except Stuck as stuck:
            wrong.append(f"stuck: {stuck}")
        except Exception:
            wrong.append(f"the simulation itself failed: {traceback.format_exc()}")
        report, found = judge(book, oracle)
    wrong += [*world.complaints, *found]
    return Result(
        seed=world.seed,
        wrong=tuple(wrong),
        trace=tuple(world.trace),
        digest=world.digest,
        callbacks=world.steps,
        virtual_s=world.now - 1_000.0,
        jobs=report.confirmed,
        faults=dict(world.faults.counts),
        duplicates=sum(1 for finding in report.findings if finding.faults),
    )


def _story(world: World, book: Book, oracle: Oracle, only: tuple[str, ...]) -> None:
    """Start everybody, let things go wrong, heal, wait until all is done, and stop everybody."""
    chance = Random(f"{world.seed}: story")
    kinds = tuple(kind for kind in KINDS if chance.random() < 0.3)
    crew = _Crew(world, book, chance)
    for number in range(chance.randint(1, 2)):
        count = chance.randint(2, 16)
        own = Random(f"{world.seed}: producer {number}")
        world.begin(f"p{number}", "producer", lambda process, own=own, count=count: produce(process, book, own, count))
    for _ in range(chance.randint(1, 3)):
        crew.hire()
    number, gap = chance.choice((0, 3, 8, 20)), chance.choice((15, 40, 100, 300))
    world.faults.plan(only or kinds, 20 if only else number, gap)
    crew.keep()
    world.run(lambda: not world.living("producer"), within_s=RUN_S)
    if world.living("producer"):
        raise Stuck("the producers do not come to an end")
    world.run(lambda: world.faults.over or oracle.is_drained(), within_s=chance.choice((0.0, 1.0, 8.0, 25.0)))
    world.note("HEALED")
    world.faults.heal()
    crew.close()
    world.run(lambda: oracle.is_drained() and oracle.has_only(world.living()), within_s=DRAIN_S)
    if not oracle.is_drained():
        raise Stuck(f"the queues do not become empty: {oracle.waiting()}")
    world.note("DRAINED")
    crew.dismiss()
    world.run(lambda: not world.living(), within_s=STOP_S)
    if world.living():
        raise Stuck(f"{[process.name for process in world.living()]} do not come to an end")


class _Crew:
    """Keeps workers at work: whoever ends is replaced."""

    def __init__(self, world: World, book: Book, chance: Random) -> None:
        self._world = world
        self._book = book
        self._chance = chance
        self._number = 0
        self._open = True
        self._dismissed = False
        self._concurrency = chance.choice((1, 1, 2, 5))

    def hire(self) -> None:
        """Start a worker."""
        self._number += 1
        self._world.begin(f"w{self._number}", "worker", lambda process: work(process, self._book, self._concurrency))

    def keep(self) -> None:
        """Look after the workers, now and again."""
        if self._open:
            if len(self._world.living("worker")) < 1 + self._chance.randint(0, 2):
                self.hire()
            self._world.at(self._world.now + self._chance.choice((0.1, 0.5, 2.0)), self.keep)

    def close(self) -> None:
        """Hire nobody any more, but the last one."""
        self._open = False
        self._world.at(self._world.now + 3.0, self._last)
        if not any(process.on_stop for process in self._world.living("worker")):
            self.hire()

    def dismiss(self) -> None:
        """Tell everybody to stop, also who has only begun."""
        self._dismissed = True
        for process in self._world.living():
            if process.on_stop is not None:
                process.told_at = process.told_at or self._world.now
                process.loop.call_soon(process.on_stop, "SIGTERM")
        if self._world.living():
            self._world.at(self._world.now + 10.0, self.dismiss)

    def _last(self) -> None:
        """A worker that was told to stop before the end still ends; somebody has to be there."""
        if not self._dismissed and not self._world.living("worker"):
            self.hire()
