"""Damaged files, as disks and people make them: each is a clear error, nothing hangs, and nothing is made worse."""

import asyncio
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from taskq.broker.sqlite import SqliteBroker
from taskq.broker.sqlite.database import APPLICATION_ID
from taskq.clock import SystemClock
from taskq.errors import BrokerError, BrokerUnreachable
from taskq.lifecycle import ConsumerInterrupted, Event
from taskq.tasks.queues import Queue
from tests.conformance.stand import TIMEOUT_S, Catch, HoldingProcess, consuming, publish, to
from tests.support.freezing import freeze
from tests.support.waiting import until

SOON_S = 10.0
PAGE = 4096
MESSAGES = 400

# In a process of its own: to close a file in a process that has it open with SQLite takes SQLite's locks away.
OVERWRITE = """
import sys
path, at, size, byte = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
with open(path, "r+b") as file:
    if byte < 0:
        file.truncate(size)
    else:
        file.seek(at)
        file.write(bytes([byte]) * size)
"""


def overwrite(path: Path, at: int, size: int, byte: int = 0xA5) -> None:
    subprocess.run([sys.executable, "-c", OVERWRITE, str(path), str(at), str(size), str(byte)], check=True)


def truncate(path: Path, size: int) -> None:
    overwrite(path, 0, size, -1)


def broker_on(path: Path, told: list[Event] | None = None) -> SqliteBroker:
    emit = None if told is None else told.append
    return SqliteBroker(f"sqlite:///{path}", clock=SystemClock(), emit=emit, connect_timeout_s=5.0)


async def fill(path: Path, *, size: int = 2000, mark: bytes = b"job") -> None:
    """Make a file with jobs in it, that nobody has open."""
    async with broker_on(path) as broker:
        await broker.declare([Queue("work"), Queue("next")])
        await publish(broker, *[to("work", b"%s %d " % (mark, n) + bytes(size)) for n in range(MESSAGES)])


async def use(path: Path) -> None:
    """Do all that a program does: open, publish, take and settle everything, look."""
    async with asyncio.timeout(60), broker_on(path) as broker:
        await broker.declare([Queue("work"), Queue("next"), Queue("third")])
        await broker.publish(to("next"), timeout_s=TIMEOUT_S)
        await broker.inspector.rework("work", lambda message: ())
        await broker.inspector.queues()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "garbage in the middle": lambda path: overwrite(path, 3 * PAGE, path.stat().st_size - 3 * PAGE),
    "zeros in the middle": lambda path: overwrite(path, 3 * PAGE, path.stat().st_size - 3 * PAGE, 0),
    "garbage for a header": lambda path: overwrite(path, 0, 100),
    "garbage behind the header": lambda path: overwrite(path, 100, PAGE - 100),
    "the second half is missing": lambda path: truncate(path, path.stat().st_size // 2 // PAGE * PAGE),
    "the end is missing, in the middle of a page": lambda path: truncate(path, path.stat().st_size - 1500),
    "all but the header is missing": lambda path: truncate(path, 100),
    "all but the first page is missing": lambda path: truncate(path, PAGE),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_is_a_clear_error_and_is_left_as_it_was(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "taskq.db"
    await fill(path)
    DAMAGES[damage](path)
    before = path.read_bytes()
    with pytest.raises(BrokerUnreachable, match=rf"{path}.*(backup|another application|move it away)"):
        await use(path)
    if "header" in damage or "missing" in damage:
        assert path.read_bytes() == before


@pytest.mark.parametrize("seed", range(8))
async def test_wherever_a_page_is_damaged_a_program_ends_or_fails_clearly(tmp_path: Path, seed: int) -> None:
    """What a page's bytes are is not known to SQLite: some damage is seen in a body, or in nothing."""
    rng = random.Random(seed)
    path = tmp_path / "taskq.db"
    await fill(path)
    pages = path.stat().st_size // PAGE
    for _ in range(3):
        overwrite(path, rng.randrange(pages) * PAGE, PAGE, rng.randrange(256))
    (result,) = await asyncio.gather(use(path), return_exceptions=True)
    assert result is None or (isinstance(result, BrokerUnreachable) and str(path) in str(result))


@pytest.mark.parametrize("damage", ["garbage in the middle", "the second half is missing"])
async def test_a_file_that_is_damaged_under_a_worker_is_told_once_and_raised_to_publishers(
    tmp_path: Path, damage: str
) -> None:
    path, told, catch = tmp_path / "taskq.db", list[Event](), Catch()
    await fill(path)
    async with broker_on(path, told) as broker:
        await broker.consume("next", prefetch=1, deliver=catch)
        await broker.consume("work", prefetch=1, deliver=catch)
        delivery = await catch.next()
        DAMAGES[damage](path)
        with suppress(BrokerError):
            await delivery.settle()
        error = None
        for _ in range(200):
            try:
                await broker.publish(to("work", bytes(3000)), timeout_s=TIMEOUT_S)
            except BrokerError as caught:
                error = caught
                break
        assert isinstance(error, BrokerUnreachable)
        assert "restore the file from a backup" in str(error)
        await until(lambda: told, timeout_s=SOON_S)
    reasons = [(event.queue, event.reason) for event in told if isinstance(event, ConsumerInterrupted)]
    assert len(reasons) == len(set(reasons)), "each reason is told once"
    assert {queue for queue, _ in reasons} == {"next", "work"}
    assert all("restore the file from a backup" in reason for _, reason in reasons)


async def crashed(path: Path, mark: bytes, *, messages: int, size: int = 2000) -> None:
    """Leave a file behind as a crash does: what was committed last is in its log."""
    await fill(path, mark=mark)
    holder = HoldingProcess(f"sqlite:///{path}", "work", 3)
    holder.wait_until_it_holds()
    freeze(holder.process.pid)
    async with broker_on(path) as broker:
        await broker.declare([Queue("more")])
        await publish(broker, *[to("more", mark + bytes(size)) for _ in range(messages)])
    assert Path(f"{path}-wal").stat().st_size > 10 * PAGE
    holder.kill()


async def test_a_log_of_another_file_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path, other = tmp_path / "taskq.db", tmp_path / "other" / "taskq.db"
    other.parent.mkdir()
    await fill(path, mark=b"mine", size=900)
    await crashed(other, b"others", messages=150)
    shutil.copy(f"{other}-wal", f"{path}-wal")
    before = path.read_bytes()
    with pytest.raises(BrokerUnreachable, match=r"is damaged .*is the log .*-wal that of another file\?|malformed"):
        await use(path)
    assert path.read_bytes() == before
    Path(f"{path}-wal").unlink()
    Path(f"{path}-shm").unlink(missing_ok=True)
    async with broker_on(path) as broker:
        assert [len(await broker.inspector.browse("work", limit=999))] == [MESSAGES]


async def test_a_log_of_another_application_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path, other = tmp_path / "taskq.db", tmp_path / "diary.db"
    await fill(path)
    with closing(sqlite3.connect(other, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE diary (entry TEXT)")
        db.execute("INSERT INTO diary VALUES ('dear me')")
        shutil.copy(f"{other}-wal", f"{path}-wal")
    before = path.read_bytes()
    with pytest.raises(BrokerUnreachable, match="another application"):
        await use(path)
    assert path.read_bytes() == before


async def test_what_a_crash_left_in_the_log_is_there_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "taskq.db"
    await crashed(path, b"mine", messages=50)
    async with broker_on(path) as broker:
        assert len(await broker.inspector.browse("more", limit=999)) == 50
        catch, _ = await consuming(broker, "work", prefetch=MESSAGES)
        assert len(await catch.take(MESSAGES)) == MESSAGES


async def test_a_log_full_of_garbage_is_taken_for_an_empty_one(tmp_path: Path) -> None:
    """As the end of a log is that a power cut has torn: SQLite keeps what its sums say is whole."""
    path = tmp_path / "taskq.db"
    await fill(path)
    Path(f"{path}-wal").write_bytes(random.Random(1).randbytes(50 * PAGE))
    async with broker_on(path) as broker:
        assert len(await broker.inspector.browse("work", limit=999)) == MESSAGES


async def test_an_emptied_file_is_a_new_one(tmp_path: Path) -> None:
    """Nothing tells it from one that was never used."""
    path = tmp_path / "taskq.db"
    await fill(path)
    path.write_bytes(b"")
    async with broker_on(path) as broker:
        await broker.declare([Queue("work")])
        assert await broker.inspector.browse("work", limit=9) == []
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
