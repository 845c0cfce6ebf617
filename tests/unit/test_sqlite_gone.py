"""A file that is deleted, moved or replaced under a program: it is noticed, told, and the end for that program."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskq import TaskQ
from taskq.broker.protocol import Settlement
from taskq.broker.sqlite import SqliteBroker
from taskq.broker.sqlite.identity import Identity
from taskq.clock import SystemClock
from taskq.errors import BrokerUnreachable
from taskq.lifecycle import BrokerGone, DeliveryLost, Event, WorkerStopped, WorkerStopping
from taskq.tasks.queues import Queue
from tests.conformance.stand import TIMEOUT_S, consuming, publish, to
from tests.support.waiting import until

SOON_S = 5.0


def beside(path: Path) -> list[Path]:
    return [Path(f"{path}{end}") for end in ("", "-wal", "-shm")]


def delete(path: Path) -> None:
    for each in beside(path):
        each.unlink()


def move(path: Path) -> None:
    for each in beside(path):
        each.rename(each.with_name(f"moved-{each.name}"))


def move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def put_back(path: Path) -> None:
    """Put a backup in its place, as ``mv`` does, and take its log away."""
    backup = path.with_name("backup.db")
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"VACUUM INTO '{backup}'")
    backup.replace(path)
    for each in beside(path)[1:]:
        each.unlink()


FAULTS = [delete, move, move_folder, put_back]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "taskq.db"


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
async def broker(path: Path, told: list[Event]) -> AsyncIterator[SqliteBroker]:
    async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock(), emit=told.append) as broker:
        await broker.declare([Queue("work"), Queue("next")])
        yield broker


def identity_of(broker: SqliteBroker) -> Identity:
    assert broker._shared is not None
    identity = broker._shared.engine._identity
    assert identity is not None
    return identity


def messages(path: Path) -> list[bytes]:
    with closing(sqlite3.connect(path)) as db:
        return [body for (body,) in db.execute("SELECT body FROM message ORDER BY id")]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_publish_into_a_file_that_is_gone_raises_and_says_what_to_do(
    broker: SqliteBroker, path: Path, fault: Callable[[Path], None]
) -> None:
    await publish(broker, to("work", b"before"))
    fault(path)
    what = "was replaced by another file" if fault is put_back else "was deleted or moved"
    for _ in range(2):
        with pytest.raises(BrokerUnreachable, match=rf"{what} while .* nothing was stored.* Start the program again"):
            await broker.publish(to("work", b"after"), timeout_s=TIMEOUT_S)
    if fault is put_back:
        assert messages(path) == [b"before"]


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_idle_program_notices_and_tells_once(
    broker: SqliteBroker, path: Path, told: list[Event], fault: Callable[[Path], None]
) -> None:
    await consuming(broker, "work")
    fault(path)
    await until(lambda: told, timeout_s=SOON_S)
    with pytest.raises(BrokerUnreachable):
        await broker.inspector.queues()
    (gone,) = told
    assert isinstance(gone, BrokerGone)
    assert (gone.label, gone.reason.startswith(f"{gone.label} was ")) == (broker.label, True)


async def test_a_log_that_is_taken_away_is_noticed_too(broker: SqliteBroker, path: Path, told: list[Event]) -> None:
    await until(lambda: identity_of(broker)._wal)
    Path(f"{path}-wal").unlink()
    await until(lambda: told, timeout_s=SOON_S)
    with pytest.raises(BrokerUnreachable, match=r"has lost its log: .*taskq\.db-wal was deleted or moved"):
        await broker.publish(to("work"), timeout_s=TIMEOUT_S)


async def test_a_delivery_of_a_file_that_is_gone_is_lost(broker: SqliteBroker, path: Path) -> None:
    await publish(broker, to("work", b"1"), to("work", b"2"), to("work", b"3"))
    catch, consumer = await consuming(broker, "work", prefetch=2)
    deliveries = await catch.take(2)
    delete(path)
    settled = [each.settle([to("next")]) for each in deliveries]
    assert [await each for each in settled] == [Settlement.LOST] * 2
    began = time.monotonic()
    await consumer.close()
    assert time.monotonic() - began < SOON_S
    assert catch.empty, "nothing more is taken from it"


async def test_a_delivery_of_a_file_that_is_gone_is_nobodys_and_goes_back_nowhere(
    broker: SqliteBroker, path: Path
) -> None:
    await publish(broker, to("work"))
    catch, _ = await consuming(broker, "work")
    delivery = await catch.next()
    delete(path)
    assert await delivery.give_back() is Settlement.LOST
    assert not await delivery.is_ours()


@pytest.mark.parametrize("fault", [delete, move, put_back])
async def test_the_end_of_the_old_program_does_no_harm_to_the_file_that_is_there_now(
    path: Path, fault: Callable[[Path], None]
) -> None:
    url = f"sqlite:///{path}"
    async with SqliteBroker(url, clock=SystemClock()) as old:
        await old.declare([Queue("work")])
        await publish(old, *[to("work", b"old %d" % number + bytes(3000)) for number in range(50)])
        await consuming(old, "work")
        fault(path)
        new = await SqliteBroker(url, clock=SystemClock()).__aenter__()
        await new.declare([Queue("fresh")])
        await publish(new, *[to("fresh", b"new %d" % number) for number in range(50)])
        inode = os.stat(f"{path}-wal").st_ino
    assert os.stat(f"{path}-wal").st_ino == inode, "the log of the new file is where it was"
    await publish(new, to("fresh", b"last"))
    await new.__aexit__(None, None, None)
    assert messages(path)[-51:] == [*[b"new %d" % number for number in range(50)], b"last"]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_file_in_use_is_not_taken_for_another(broker: SqliteBroker, path: Path, told: list[Event]) -> None:
    """Backups, vacuums, checkpoints and links leave it what it is."""
    os.link(path, path.with_name("link.db"))
    with closing(sqlite3.connect(path)) as db:
        for number in range(3):
            await publish(broker, *[to("work", bytes(5000)) for _ in range(50)])
            db.execute(f"VACUUM INTO '{path.with_name(f'backup-{number}.db')}'")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    identity = identity_of(broker)
    seen = identity._next_look
    await until(lambda: identity._next_look > seen + 0.6, timeout_s=SOON_S)
    await publish(broker, to("work"))
    assert told == []


def shop(path: Path, **settings: Any) -> tuple[TaskQ[object], Any]:
    app = TaskQ[object]("shop", url=f"sqlite:///{path}", **settings)

    @app.task
    async def wait(gate: str) -> None:
        while not os.path.exists(gate):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    return app, wait


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_worker_says_so_and_ends_with_an_error(
    path: Path, tmp_path: Path, told: list[Event], fault: Callable[[Path], None]
) -> None:
    app, _ = shop(path)
    app.on(Event)(told.append)
    async with app:
        worker = app.worker()
        running = asyncio.create_task(worker.run())
        await worker.started.wait()
        fault(path)
        with pytest.raises(BrokerUnreachable, match="Start the program again"):
            await asyncio.wait_for(running, SOON_S)
    kinds = [type(event) for event in told]
    assert kinds[-3:] == [BrokerGone, WorkerStopping, WorkerStopped]


async def test_a_job_that_runs_then_has_its_grace_and_is_lost(path: Path, tmp_path: Path, told: list[Event]) -> None:
    app, wait = shop(path)
    app.on(Event)(told.append)
    gate = tmp_path / "gate"
    async with app:
        worker = app.worker()
        running = asyncio.create_task(worker.run())
        await wait.enqueue(str(gate))
        await until(lambda: worker.running)
        delete(path)
        await until(lambda: any(isinstance(event, WorkerStopping) for event in told))
        assert worker.running == 1
        gate.touch()
        with pytest.raises(BrokerUnreachable):
            await asyncio.wait_for(running, SOON_S)
    assert sum(isinstance(event, DeliveryLost) for event in told) == 1
