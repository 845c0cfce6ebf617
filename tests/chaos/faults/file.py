"""Faults of a database in a file: processes killed inside a commit, or stopped for longer than their lease; the file
held by others; the disk full; the clock set back.

Whoever holds the file, or the room on its disk, is what such a fault is written down with: it takes nobody's job away,
so that it explains no job that ran twice.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tests.chaos import holder
from tests.chaos.commits import stop_between_commits, stop_in_commit
from tests.chaos.fault import Fault, Struck
from tests.chaos.member import Member
from tests.chaos.shiftedclock import shift
from tests.chaos.world import World
from tests.support.ledger.records import CLOCK_JUMP
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.chaos.sites.sqlite import SqliteSite

_ENDS_S = 30.0
_RECOVERS_S = 5.0
_LEASE_S = 15.0  # of the embedded broker
_PIECE = 1 << 20


async def kill_worker_in_commit(world: World[SqliteSite], rng: Random) -> Struck:
    """SIGKILL a worker that stands inside a commit, with half of it written."""
    return await _killed_in_commit(world, world.any_worker(rng), rng)


async def kill_producer_in_commit(world: World[SqliteSite], rng: Random) -> Struck:
    """SIGKILL a producer that stands inside a commit: nobody is told whether those jobs are stored."""
    return await _killed_in_commit(world, world.any_producer(rng), rng)


async def pause_beyond_lease(world: World[SqliteSite], rng: Random) -> Struck:
    """SIGSTOP a worker until others have its jobs, and let it go on: what it ends then is nobody's any more.

    It does not have the lock of the file then: as long as a stopped process has it, nobody can write.
    """
    victim = world.any_worker(rng)
    with world.fault("worker SIGSTOP beyond its lease", pid=victim.pid):
        await asyncio.to_thread(stop_between_commits, victim.pid, world.site.path, rng)
        try:
            what = f"the others take {victim.pid} for dead"
            await eventually(lambda: not _registered(world.site.path, victim.pid), what, within_s=2 * _LEASE_S)
        finally:
            victim.send(signal.SIGCONT)
    return Struck(healed_at=time.time())


async def hold_lock(world: World[SqliteSite], rng: Random) -> Struck:
    """Have a foreign program hold the lock of the file for seconds; it ends in order, or is killed with the lock."""
    async with _held(world.site.path, "writer") as foreign:
        with world.fault("file locked by another", pid=foreign.pid):
            await world.hold(rng.uniform(0.2, 2.0))
            _let_go(foreign, rng)
    return Struck(healed_at=time.time())


async def hold_old_state(world: World[SqliteSite], rng: Random) -> Struck:
    """Have a foreign program read one old state of the file for seconds, so that the log cannot begin anew."""
    async with _held(world.site.path, "reader") as foreign:
        with world.fault("long read by another", pid=foreign.pid):
            await world.hold(rng.uniform(0.3, 2.0))
            _let_go(foreign, rng)
    return Struck(healed_at=time.time())


async def fill_disk(world: World[SqliteSite], rng: Random) -> Struck:
    """Have no room on the disk for a moment, not even for the next commit."""
    path = world.site.path
    filler = path.with_name("filler")
    with world.fault("disk full", pid=os.getpid()):
        await asyncio.to_thread(world.site.empty_log)  # else the next commits would go where older ones were
        try:
            await asyncio.to_thread(_fill, filler)
            await world.hold(rng.uniform(0.2, 1.5))
        finally:
            filler.unlink()
    return Struck(healed_at=time.time())


async def set_clock_back(world: World[SqliteSite], rng: Random) -> Struck:
    """Set the clock of all processes back, and right again. They share one machine, so none of them has its own."""
    clocks = {member.pid: world.clock_of(member.role.name) for member in world.members}
    back_s = rng.choice((1.0, 60.0, 3600.0, 86_400.0))
    with ExitStack() as stack:
        for pid in clocks:
            stack.enter_context(world.fault(CLOCK_JUMP, pid=pid))
        for clock in clocks.values():
            shift(clock, -back_s)
        await world.hold(rng.uniform(0.2, 1.5))
        for clock in clocks.values():
            shift(clock, 0.0)
    return Struck(healed_at=time.time())


async def _killed_in_commit(world: World[SqliteSite], victim: Member, rng: Random) -> Struck:
    with world.fault("SIGKILL inside a commit", pid=victim.pid):
        await asyncio.to_thread(stop_in_commit, victim.pid, world.site.path, rng)
        victim.send(signal.SIGKILL)
        await victim.ended(within_s=_ENDS_S)
    return Struck(healed_at=time.time(), hit=frozenset({victim.pid}))


def _registered(path: Path, pid: int) -> bool:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_ENDS_S)) as database:
        return database.execute("SELECT 1 FROM process WHERE pid = ?", (pid,)).fetchone() is not None


@asynccontextmanager
async def _held(path: Path, kind: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Have a foreign process that holds the file."""
    command = [sys.executable, "-I", "-S", holder.__file__, str(path), kind]
    foreign = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert foreign.stdout is not None
        said = await asyncio.to_thread(foreign.stdout.readline)
        assert said == b"holds\n", f"the {kind} did not get hold of the file: {said!r}"
        yield foreign
    finally:
        foreign.kill()
        await asyncio.to_thread(foreign.communicate)


def _let_go(foreign: subprocess.Popen[bytes], rng: Random) -> None:
    assert foreign.stdin is not None
    if rng.random() < 0.5:
        foreign.kill()
    else:
        foreign.stdin.close()
        foreign.stdin = None
    foreign.wait(_ENDS_S)


def _fill(filler: Path) -> None:
    """Take all room that is left, to the last byte."""
    piece = bytes(_PIECE)
    with filler.open("wb", buffering=0) as file:
        while piece:
            try:
                file.write(piece)
            except OSError:
                piece = piece[: len(piece) // 2]


FAULTS = (
    Fault(
        name="worker SIGKILL inside a commit",
        strike=kill_worker_in_commit,
        breaks=frozenset({"worker", "file"}),
        weight=12,
        bound_s=_RECOVERS_S,
    ),
    Fault(
        name="producer SIGKILL inside a commit",
        strike=kill_producer_in_commit,
        breaks=frozenset({"producer", "file"}),
        weight=4,
        bound_s=_RECOVERS_S,
    ),
    Fault(
        name="worker SIGSTOP beyond its lease",
        strike=pause_beyond_lease,
        breaks=frozenset({"worker", "producer", "file", "log"}),
        weight=1,
        bound_s=_RECOVERS_S,
    ),
    Fault(
        name="file locked by another program",
        strike=hold_lock,
        breaks=frozenset({"file"}),
        weight=8,
        bound_s=_RECOVERS_S,
    ),
    Fault(
        name="long read by another program",
        strike=hold_old_state,
        breaks=frozenset({"log"}),
        weight=8,
        bound_s=_RECOVERS_S,
    ),
    Fault(
        name="clock set back",
        strike=set_clock_back,
        breaks=frozenset({"clock"}),
        weight=6,
        bound_s=_RECOVERS_S,
    ),
)

DISK_FAULTS = (
    Fault(
        name="disk full",
        strike=fill_disk,
        breaks=frozenset({"file", "log"}),
        weight=8,
        bound_s=_RECOVERS_S,
    ),
)
"""For a file on a disk of its own."""
