"""Files of an older schema are brought up to the present one, with what is in them."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from taskq.broker.sqlite import SqliteBroker
from taskq.broker.sqlite.database import APPLICATION_ID
from taskq.clock import SystemClock
from taskq.errors import BrokerUnreachable
from taskq.tasks.exchanges import Binding, ExchangeDefinition
from taskq.tasks.queues import Queue
from tests.conformance.stand import bodies, publish, subscribed, temporary, through, to

VERSION_1 = """
CREATE TABLE process (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    pid           INTEGER NOT NULL,
    start_time    INTEGER,
    boot_id       TEXT NOT NULL,
    pid_namespace TEXT NOT NULL,
    lease_until   REAL NOT NULL,
    wake_port     INTEGER NOT NULL
) STRICT;
CREATE TABLE queue (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    name           TEXT NOT NULL UNIQUE,
    kind           TEXT NOT NULL CHECK (kind IN ('work', 'dead', 'reply')),
    max_priority   INTEGER NOT NULL DEFAULT 0,
    delivery_limit INTEGER,
    dead_letter    INTEGER REFERENCES queue (id),
    owner          INTEGER REFERENCES process (id)
) STRICT;
CREATE INDEX queue_of_owner ON queue (owner) WHERE owner IS NOT NULL;
CREATE TABLE consumer (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    process  INTEGER NOT NULL REFERENCES process (id) ON DELETE CASCADE,
    queue    INTEGER NOT NULL REFERENCES queue (id) ON DELETE CASCADE,
    prefetch INTEGER NOT NULL
) STRICT;
CREATE INDEX consumer_of_queue ON consumer (queue);
CREATE INDEX consumer_of_process ON consumer (process);
CREATE TABLE message (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    queue        INTEGER NOT NULL,
    priority     INTEGER NOT NULL,
    ready_at     REAL,
    claim        INTEGER,
    redeliveries INTEGER NOT NULL DEFAULT 0,
    properties   TEXT NOT NULL,
    body         BLOB NOT NULL
) STRICT;
CREATE INDEX message_ready ON message (queue, priority DESC) WHERE claim IS NULL AND ready_at IS NULL;
CREATE INDEX message_delayed ON message (queue, ready_at) WHERE claim IS NULL AND ready_at IS NOT NULL;
CREATE INDEX message_claimed ON message (claim) WHERE claim IS NOT NULL;
"""
CONTENT = """
INSERT INTO queue (id, name, kind) VALUES (1, 'work.dead', 'dead');
INSERT INTO queue (id, name, kind, delivery_limit, dead_letter) VALUES (2, 'work', 'work', 20, 1);
INSERT INTO queue (id, name, kind) VALUES (9, 'taskq.reply.gone', 'reply');
DELETE FROM queue WHERE id = 9;
INSERT INTO message (queue, priority, properties, body) VALUES (2, 0, '{"message_id":"m"}', x'31');
"""


def make_version_1(path: Path, mode: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode = {mode}")
        db.executescript(VERSION_1 + CONTENT)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")


def shape(path: Path) -> object:
    """What SQLite says of a file's tables, in words that do not depend on how they were written."""
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        pragmas = ("table_xinfo", "foreign_key_list", "index_list")
        details = {
            (table, pragma): sorted(map(repr, db.execute(f"PRAGMA {pragma}({table})")))
            for table in tables
            for pragma in pragmas
        }
        indexes = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name").fetchall()
        return details, indexes, db.execute("PRAGMA user_version").fetchone()


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
async def test_a_file_of_version_1_is_brought_up_to_date_with_what_is_in_it(tmp_path: Path, mode: str) -> None:
    make_version_1(tmp_path / "old.db", mode)
    async with SqliteBroker(f"sqlite:///{tmp_path / 'old.db'}", clock=SystemClock()) as broker:
        news = ExchangeDefinition(name="news", kind="fanout")
        await broker.declare([Queue("work")], exchanges=[news], bindings=[Binding(exchange="news", queue="work")])
        catch, _ = await subscribed(broker, temporary(("news", "")))
        await publish(broker, through("news", body=b"2"), to("work", b"3"))
        assert await catch.settled() == b"2"
        assert await bodies(broker, "work", "work.dead") == [[b"1", b"2", b"3"], []]


async def test_a_file_that_was_brought_up_to_date_is_as_a_new_one(tmp_path: Path) -> None:
    make_version_1(tmp_path / "old.db", "WAL")
    for name in ("old.db", "new.db"):
        async with SqliteBroker(f"sqlite:///{tmp_path / name}", clock=SystemClock()):
            pass
    assert shape(tmp_path / "old.db") == shape(tmp_path / "new.db")
    with closing(sqlite3.connect(tmp_path / "old.db")) as db:
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_no_number_of_a_queue_is_used_again(tmp_path: Path) -> None:
    make_version_1(tmp_path / "old.db", "WAL")
    async with SqliteBroker(f"sqlite:///{tmp_path / 'old.db'}", clock=SystemClock()) as broker:
        await broker.declare([Queue("next")])
    with closing(sqlite3.connect(tmp_path / "old.db")) as db:
        assert db.execute("SELECT id FROM queue WHERE name LIKE 'next%' ORDER BY id").fetchall() == [(10,), (11,)]


async def test_many_brokers_may_bring_a_file_up_to_date_at_once(tmp_path: Path) -> None:
    make_version_1(tmp_path / "old.db", "WAL")

    async def use(number: int) -> None:
        async with SqliteBroker(f"sqlite:///{tmp_path / 'old.db'}", clock=SystemClock()) as broker:
            await publish(broker, to("work", b"%d" % number))

    await asyncio.gather(*[use(number) for number in range(8)])
    async with SqliteBroker(f"sqlite:///{tmp_path / 'old.db'}", clock=SystemClock()) as broker:
        assert len((await bodies(broker, "work"))[0]) == 9


async def test_a_file_that_cannot_be_brought_up_to_date_stays_as_it_was(tmp_path: Path) -> None:
    make_version_1(tmp_path / "old.db", "DELETE")
    with closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as db:
        db.execute("CREATE TABLE exchange (somebodys TEXT)")
    before = (tmp_path / "old.db").read_bytes()
    with pytest.raises(BrokerUnreachable):
        async with SqliteBroker(f"sqlite:///{tmp_path / 'old.db'}", clock=SystemClock()):
            pass
    assert (tmp_path / "old.db").read_bytes() == before
