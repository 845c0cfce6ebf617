"""Who only reads: neither waits for who writes, nor holds it up; and the log beside the file stays small."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from taskq.broker.sqlite import SqliteBroker
from taskq.broker.sqlite.database import open_database
from taskq.broker.sqlite.location import read_location
from taskq.broker.sqlite.wal import WalBound
from taskq.clock import SystemClock
from taskq.tasks.queues import Queue
from tests.conformance.stand import TIMEOUT_S, publish, to, turnover
from tests.support.waiting import eventually


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "taskq.db"


@pytest.fixture
async def broker(path: Path) -> AsyncIterator[SqliteBroker]:
    async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock()) as broker:
        await broker.declare([Queue("work")])
        yield broker


def replies_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        (count,) = db.execute("SELECT count(*) FROM message").fetchone()
    return int(count)


async def test_a_reply_is_read_while_somebody_else_has_the_file_locked(broker: SqliteBroker, path: Path) -> None:
    replies: list[bytes] = []
    inbox = await broker.open_inbox(lambda message: replies.append(message.body))
    with closing(sqlite3.connect(path, isolation_level=None)) as worker:
        worker.execute(
            "INSERT INTO message (queue, priority, properties, body) "
            "SELECT id, 0, '{\"message_id\":\"1\"}', x'31' FROM queue WHERE name = ?",
            (inbox.address,),
        )
        worker.execute("BEGIN IMMEDIATE")
        inbox.poke()
        await eventually(lambda: replies == [b"1"], "the reply is read", within_s=5)
    await eventually(lambda: replies_in(path) == 0, "what was read is removed")


async def test_a_reply_is_read_once_though_it_is_removed_later(
    broker: SqliteBroker, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.broker.sqlite.inbox._REMOVE_AFTER_S", 3_600.0)
    replies: list[bytes] = []
    inbox = await broker.open_inbox(lambda message: replies.append(message.body))
    for body in (b"1", b"2"):
        await publish(broker, to(inbox.address, body))
        for _ in range(3):
            inbox.poke()
            await turnover(broker)
    assert replies == [b"1", b"2"]
    assert replies_in(path) == 2
    await inbox.close()
    assert replies_in(path) == 0


async def test_a_reader_that_does_not_end_holds_up_nobody(broker: SqliteBroker, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM message").fetchone()
        async with asyncio.timeout(10):
            for _ in range(20):
                await publish(broker, *[to("work", bytes(1_000)) for _ in range(50)])
        assert (await broker.inspector.queues())[0].ready == 1_000


async def test_the_log_is_cut_when_readers_let_it_grow(
    broker: SqliteBroker, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, log = 1_000_000, Path(f"{path}-wal")
    monkeypatch.setattr("taskq.broker.sqlite.wal.LIMIT_BYTES", limit)
    assert broker._shared is not None
    monkeypatch.setattr(broker._shared.membership._wal, "_limit", limit)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM message").fetchone()
        for _ in range(4):
            await publish(broker, *[to("work", bytes(50_000)) for _ in range(30)])
        assert log.stat().st_size > limit
    monkeypatch.setattr(broker._shared.membership._wal, "_limit", limit)  # whether or not it tried meanwhile
    await eventually(lambda: log.stat().st_size < limit, "the log is cut")
    assert (await broker.inspector.queues())[0].ready == 120


def test_the_next_try_to_cut_the_log_is_when_it_has_grown_as_much_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.broker.sqlite.wal.LIMIT_BYTES", 100_000)
    monkeypatch.setattr("taskq.broker.sqlite.wal._WAIT_MS", 20)
    log = Path(f"{path}-wal")
    with (
        closing(open_database(read_location(f"sqlite:///{path}"), 1.0)) as db,
        closing(sqlite3.connect(path, isolation_level=None)) as reader,
    ):
        bound = WalBound(path)
        bound.keep(db)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM message").fetchone()
        db.execute("INSERT INTO message (queue, priority, properties, body) VALUES (1, 0, '{}', zeroblob(200000))")
        size = log.stat().st_size
        began = time.monotonic()
        bound.keep(db)
        assert 0.01 < time.monotonic() - began < 5
        assert bound._limit == size + 100_000
        assert db.execute("PRAGMA busy_timeout").fetchone() == (0,)
        reader.execute("COMMIT")
        bound.keep(db)
        assert log.stat().st_size == size
        db.execute("INSERT INTO message (queue, priority, properties, body) VALUES (1, 0, '{}', zeroblob(200000))")
        bound.keep(db)
        assert log.stat().st_size == 0 or log.stat().st_size <= bound._limit


@pytest.mark.parametrize(("query", "level"), [("", 2), ("?synchronous=full", 2), ("?synchronous=normal", 1)])
async def test_each_commit_is_flushed_unless_the_url_says_otherwise(path: Path, query: str, level: int) -> None:
    location = read_location(f"sqlite:///{path}{query}")
    with closing(open_database(location, 1.0)) as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (level,)
    async with SqliteBroker(f"sqlite:///{path}{query}", clock=SystemClock()) as broker:
        await broker.declare([Queue("work")])
        await broker.publish(to("work"), timeout_s=TIMEOUT_S)
