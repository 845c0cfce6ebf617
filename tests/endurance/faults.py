"""What goes wrong while a soak runs: drawn by chance, over before the next one."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from tests.conformance.stand import HoldingProcess
from tests.endurance.brokers import Ground
from tests.support.rabbit import RabbitNode
from tests.support.tcpproxy import TcpProxy

Fault = Callable[[], Awaitable[None]]

_HOLDS_S = 60.0


class Faults:
    """Of one run. ``done`` counts them by kind."""

    def __init__(self, ground: Ground, rng: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self._rng = rng
        own = _of_rabbitmq(ground, rng) if ground.node is not None else _of_file(ground, rng)
        self._weights: dict[Fault, int] = {**own, **_of_processes(ground)}

    async def one(self) -> None:
        """Let one thing go wrong."""
        (fault,) = self._rng.choices(list(self._weights), list(self._weights.values()))
        await fault()
        self.done[fault.__name__.replace("_", " ")] += 1


def _of_processes(ground: Ground) -> dict[Fault, int]:
    async def worker_killed() -> None:
        holder = HoldingProcess(ground.url, "work", 1)
        try:
            async with asyncio.timeout(_HOLDS_S):
                await asyncio.to_thread(holder.wait_until_it_holds)
        finally:
            holder.kill()

    async def task_process_killed() -> None:
        for process in multiprocessing.active_children():
            process.kill()

    return {worker_killed: 15, task_process_killed: 5}


def _of_rabbitmq(ground: Ground, rng: random.Random) -> dict[Fault, int]:
    assert ground.proxy is not None
    assert ground.node is not None
    proxy: TcpProxy = ground.proxy
    node: RabbitNode = ground.node

    async def connections_cut() -> None:
        proxy.cut()

    async def connections_reset() -> None:
        proxy.reset()

    async def cut_in_a_frame() -> None:
        proxy.cut_in(rng.randrange(1, 20_000))

    async def closed_by_the_broker() -> None:
        await asyncio.to_thread(node.close_connections)

    async def stalled() -> None:
        proxy.stall()
        await asyncio.sleep(rng.uniform(0.2, 2))
        proxy.flow()

    async def black_hole() -> None:
        proxy.black_hole()
        await asyncio.sleep(rng.uniform(0.5, 3))
        proxy.flow()

    async def away() -> None:
        await proxy.refuse()
        proxy.reset()
        await asyncio.sleep(rng.uniform(0.5, 3))
        await proxy.accept_again()

    async def disk_alarm() -> None:
        await asyncio.to_thread(node.alarm_disk, True)
        await asyncio.sleep(rng.uniform(0.2, 2))
        await asyncio.to_thread(node.alarm_disk, False)

    async def restarted() -> None:
        await asyncio.to_thread(node.stop)
        await asyncio.to_thread(node.start)

    return {
        connections_cut: 20,
        connections_reset: 20,
        cut_in_a_frame: 20,
        closed_by_the_broker: 10,
        stalled: 10,
        black_hole: 5,
        away: 8,
        disk_alarm: 5,
        restarted: 2,
    }


def _of_file(ground: Ground, rng: random.Random) -> dict[Fault, int]:
    assert ground.path is not None
    path = ground.path

    async def locked() -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as db:
            while not _has_begun(db):  # noqa: ASYNC110  # another process's lock signals nothing
                await asyncio.sleep(0.002)
            await asyncio.sleep(rng.uniform(0.05, 3.0))

    async def read_for_long() -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as db:
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM message").fetchone()
            await asyncio.sleep(rng.uniform(0.5, 3))

    async def backed_up() -> None:
        backup = Path(f"{path}-backup")
        await asyncio.to_thread(_back_up, path, backup)
        backup.unlink()

    return {locked: 40, read_for_long: 20, backed_up: 10}


def _has_begun(db: sqlite3.Connection) -> bool:
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:  # the program has it at the moment
        return False
    return True


def _back_up(path: Path, backup: Path) -> None:
    with closing(sqlite3.connect(path, timeout=10)) as db:
        db.execute(f"VACUUM INTO '{backup}'")
