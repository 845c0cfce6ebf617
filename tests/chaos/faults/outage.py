"""Faults that end every process of a program at once, as a cut of the power does, and what the file may have then.

The processes are started again by the fault itself, so that a recovery is the time from their start until all get on:
interpreters and imports included.
"""

from __future__ import annotations

import asyncio
import signal
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tests.chaos.fault import Fault, Struck
from tests.chaos.world import World

if TYPE_CHECKING:
    from tests.chaos.sites.sqlite import SqliteSite

_ENDS_S = 30.0
_ALL = frozenset({"worker", "producer", "file", "log", "clock"})
_NO_BROKER = 3  # the status of a worker that cannot open its broker
_LOG_HEADER, _FRAME_HEADER = 32, 24


async def kill_all(world: World[SqliteSite], rng: Random) -> Struck:
    """SIGKILL every process of the program at once, and start all again."""
    await _kill_all(world, "all SIGKILL")
    return _started_again(world)


async def tear_log(world: World[SqliteSite], rng: Random) -> Struck:
    """SIGKILL all, and leave the beginning of a commit behind the last whole one, with noise in it."""
    await _kill_all(world, "torn log")
    await asyncio.to_thread(_tear, Path(f"{world.site.path}-wal"), Path(f"{world.site.path}-shm"), rng)
    return _started_again(world)


async def damage_file(world: World[SqliteSite], rng: Random) -> Struck:
    """SIGKILL all, and damage the file: a worker ends with an error that says so, and changes no byte of it."""
    await _kill_all(world, "file damaged")
    path = world.site.path
    await asyncio.to_thread(world.site.empty_log)
    whole = path.read_bytes()
    damaged = rng.choice(_DAMAGES)(whole, rng)
    path.write_bytes(damaged)
    try:
        await _refused(world, rng)
        assert path.read_bytes() == damaged, "a worker changed a file that it could not use"
    finally:
        path.write_bytes(whole)
    return _started_again(world)


async def _kill_all(world: World[SqliteSite], what: str) -> None:
    with ExitStack() as stack:
        for member in world.members:
            stack.enter_context(world.fault(what, pid=member.pid))
        for member in world.members:
            member.send(signal.SIGKILL)
        for member in world.members:
            await member.ended(within_s=_ENDS_S)


def _started_again(world: World[SqliteSite]) -> Struck:
    started_at = time.time()
    for member in world.members:
        member.start_again()
    return Struck(healed_at=started_at)


async def _refused(world: World[SqliteSite], rng: Random) -> None:
    worker = world.any_worker(rng)
    worker.start_again()
    status = await worker.ended(within_s=_ENDS_S)
    assert status == _NO_BROKER, f"a worker on a damaged file ended with {status}:\n{worker.log[-4000:]}"
    assert "cannot be used" in worker.log, f"it does not say what is wrong:\n{worker.log[-4000:]}"
    assert "restore the file from a backup" in worker.log, f"it does not say what to do:\n{worker.log[-4000:]}"


def _tear(log: Path, index: Path, rng: Random) -> None:
    """Write over what stands behind the last commit; no frame there is part of one that anybody was told of.

    See "WAL-mode file format" of SQLite: the index says which frame is the last of a commit, and how large a page is.
    A frame with noise in it fails its checksum, which ends the log there.
    """
    size, last = struct.unpack_from("=HI", index.read_bytes(), 14)
    frame = _FRAME_HEADER + size
    with log.open("r+b") as file:
        header = file.read(_LOG_HEADER)
        file.seek(_LOG_HEADER + last * frame)
        salts = header[16:24]
        torn = struct.pack(">II", 1, 1) + salts + rng.randbytes(8 + size)  # a commit of page 1, were it whole
        file.write((torn + rng.randbytes(frame))[: rng.randint(1, 2 * frame)])


def _without_header(whole: bytes, rng: Random) -> bytes:
    return rng.randbytes(100) + whole[100:]


def _zeroed(whole: bytes, rng: Random) -> bytes:
    return bytes(4096) + whole[4096:]


def _cut_short(whole: bytes, rng: Random) -> bytes:
    return whole[: rng.randrange(4096, len(whole) - 4096)]


def _noise(whole: bytes, rng: Random) -> bytes:
    return rng.randbytes(len(whole))


_DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (_without_header, _zeroed, _cut_short, _noise)

FAULTS = (
    Fault(name="all SIGKILL at once", strike=kill_all, breaks=_ALL, weight=3),
    Fault(name="all SIGKILL, a torn log", strike=tear_log, breaks=_ALL, weight=3),
    Fault(name="all SIGKILL, a damaged file", strike=damage_file, breaks=_ALL, weight=2),
)
