"""Operations that share a transaction: each has its own result, and each costs the same however many wait."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from taskq.broker.protocol import Outgoing, Settlement
from taskq.broker.sqlite import SqliteBroker
from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.claiming import release, take
from taskq.broker.sqlite.database import open_database
from taskq.broker.sqlite.location import read_location
from taskq.broker.sqlite.operation import Operation
from taskq.broker.sqlite.packing import pack
from taskq.clock import SystemClock
from taskq.errors import Unroutable
from taskq.tasks.queues import Queue
from tests.conformance.stand import TIMEOUT_S, bodies, consuming, message, publish, to, turnover
from tests.support.waiting import until


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[SqliteBroker]:
    async with SqliteBroker(f"sqlite:///{tmp_path / 'taskq.db'}", clock=SystemClock()) as broker:
        await broker.declare([Queue("work"), Queue("next")])
        yield broker


class Gate(Operation[None]):
    """Holds up the thread until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def run(self, batch: Batch) -> None:
        self.reached.set()
        assert self.opened.wait(20)


@asynccontextmanager
async def gathering(broker: SqliteBroker) -> AsyncIterator[None]:
    """Let everything that is submitted meanwhile wait for one transaction."""
    gate = Gate()
    broker._open().submitter.submit(gate)
    await until(gate.reached.is_set)
    yield
    gate.opened.set()


def count_transactions(broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the number of operations of each transaction."""
    assert broker._shared is not None
    engine, counts = broker._shared.engine, list[int]()
    transact = engine._transact

    def counted(db: sqlite3.Connection, taken: list[Operation[Any]]) -> None:
        counts.append(len(taken))
        transact(db, taken)

    monkeypatch.setattr(engine, "_transact", counted)
    return counts


async def test_operations_of_all_kinds_share_a_transaction_and_each_keeps_its_own_error(
    broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(broker, *[to("work", b"%d" % n) for n in range(4)])
    catch, _ = await consuming(broker, "work", prefetch=3)
    plain, replaced, unroutable = await catch.take(3)
    replies: list[bytes] = []
    inbox = await broker.open_inbox(lambda reply: replies.append(reply.body))
    await turnover(broker)
    counts = count_transactions(broker, monkeypatch)
    async with gathering(broker):
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(each)
            for each in (
                broker.publish(to("next", b"a"), timeout_s=TIMEOUT_S),
                broker.publish(to("nowhere"), timeout_s=TIMEOUT_S),
                plain.settle(),
                replaced.settle([to("next", b"b"), to(inbox.address, b"reply", mandatory=False)]),
                unroutable.settle([to("next", b"c"), to("nowhere")]),
                broker.publish(to("next", b"d"), timeout_s=TIMEOUT_S),
            )
        ]
        await asyncio.sleep(0.01)  # several turns of the loop, in which they are handed over
    results = await asyncio.gather(*waits, return_exceptions=True)
    assert results[0] is results[5] is None
    assert results[2:4] == [Settlement.DONE, Settlement.DONE]
    assert [type(results[n]) for n in (1, 4)] == [Unroutable, Unroutable]
    assert counts[:2] == [1, 7]  # the gate; then all of them, with the claim for the two slots that are free
    assert await bodies(broker, "next") == [[b"a", b"d", b"b"]]  # a settle begins a turn of the loop later
    assert (await catch.next()).message.body == b"3"
    await turnover(broker)
    assert replies == [b"reply"]
    assert await unroutable.settle() is Settlement.DONE


async def test_what_the_database_refuses_fails_none_of_those_that_share_its_transaction(broker: SqliteBroker) -> None:
    await publish(broker, *[to("work", b"%d" % n) for n in range(6)])
    catch, _ = await consuming(broker, "work", prefetch=4)
    first, second, refused, last = await catch.take(4)
    no_bytes = Outgoing(message("text"), "next")  # type: ignore[arg-type]
    async with gathering(broker):
        waits = [
            asyncio.ensure_future(each)
            for each in (first.settle(), second.settle([to("next")]), refused.settle([no_bytes]), last.settle())
        ]
        await asyncio.sleep(0.01)  # several turns of the loop, in which they are handed over
    results = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(each) for each in results] == [Settlement, Settlement, sqlite3.IntegrityError, Settlement]
    assert len(await broker.inspector.browse("next", limit=9)) == 1
    assert {each.message.body for each in await catch.take(2)} == {b"4", b"5"}
    assert await refused.settle() is Settlement.DONE


async def test_a_consumer_of_one_slot_settles_and_claims_in_one_transaction(
    broker: SqliteBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(broker, *[to("work") for _ in range(20)])
    catch, _ = await consuming(broker, "work")
    await catch.settled()
    counts = count_transactions(broker, monkeypatch)
    for _ in range(15):
        await catch.settled()
    await catch.next()
    assert counts == [2] * 15


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(open_database(read_location("memory://batch"), 1.0)) as db:
        db.execute("INSERT INTO queue (id, name, kind) VALUES (1, 'work', 'work'), (2, 'other', 'work')")
        yield db


def fill(db: sqlite3.Connection, ready: int, beside: int = 0) -> None:
    """Put messages into the queue 1: ready ones, and beside them delayed, claimed, and those of another queue."""
    insert = "INSERT INTO message (queue, priority, ready_at, claim, properties, body) VALUES (?, 0, ?, ?, '{}', x'')"
    db.executemany(insert, [(1, None, None)] * ready)
    db.executemany(insert, [row for n in range(beside) for row in ((1, 1e12 + n, None), (2, None, None), (1, None, n))])


def test_only_what_its_claim_still_has_is_settled(db: sqlite3.Connection) -> None:
    fill(db, 5)
    held = [row[0] for row in take(Batch(db, "db"), 1, 7 << 32, 4, 0.0)]
    batch = Batch(db, "db", [*held, held[0], 99])
    assert [batch.held.settle(each, 7 << 32) for each in held[:2]] == [True, True]
    assert not batch.held.settle(held[0], 7 << 32)  # settled a moment ago, in this transaction
    assert not batch.held.settle(held[2], 8 << 32)  # somebody else's
    assert not batch.held.settle(99, 7 << 32)  # no such message
    batch.write()
    assert [row[0] for row in db.execute("SELECT id FROM message ORDER BY id")] == [held[2], held[3], held[3] + 1]


def test_what_was_given_back_in_the_same_transaction_is_not_settled(db: sqlite3.Connection) -> None:
    fill(db, 3)
    held = [row[0] for row in take(Batch(db, "db"), 1, 7 << 32, 3, 0.0)]
    batch = Batch(db, "db", held)
    assert batch.held.settle(held[0], 7 << 32)
    batch.write()
    release(batch, 7)
    assert not batch.held.settle(held[1], 7 << 32)
    batch.write()
    assert db.execute("SELECT id, redeliveries FROM message ORDER BY id").fetchall() == [(held[1], 1), (held[2], 1)]


def test_a_batch_of_settles_takes_two_statements_whatever_its_size(db: sqlite3.Connection) -> None:
    fill(db, 500)
    held = [row[0] for row in take(Batch(db, "db"), 1, 7 << 32, 500, 0.0)]
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    batch = Batch(db, "db", held)
    assert all(batch.held.settle(each, 7 << 32) for each in held)
    batch.write()
    assert len(statements) == 2
    assert db.execute("SELECT count(*) FROM message").fetchone() == (0,)


def steps_of_a_turn(db: sqlite3.Connection) -> int:
    """Return how many instructions of SQLite's machine a claim, a settle and a publish take."""
    (row,) = take(Batch(db, "db"), 1, 7 << 32, 1, 0.0)  # prepared before it is counted
    batch, steps = Batch(db, "db", [row[0]]), 0

    def step() -> None:
        nonlocal steps
        steps += 1

    db.set_progress_handler(step, 1)
    assert batch.held.settle(row[0], 7 << 32)
    batch.put(pack(to("work"), 0.0))
    assert len(take(batch, 1, 8 << 32, 1, 0.0)) == 1
    batch.woken()
    db.set_progress_handler(None, 1)
    return steps


def test_a_claim_a_settle_and_a_publish_take_no_more_steps_with_many_that_wait(db: sqlite3.Connection) -> None:
    fill(db, 10)
    few = steps_of_a_turn(db)
    fill(db, 20_000, beside=5_000)
    assert steps_of_a_turn(db) <= few + 10
