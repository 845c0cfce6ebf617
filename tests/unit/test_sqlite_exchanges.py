"""What the embedded broker keeps of exchanges and temporary queues in its file, and reads of them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskq.broker.sqlite import SqliteBroker
from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.binding import bind
from taskq.broker.sqlite.claiming import take
from taskq.broker.sqlite.database import open_database
from taskq.broker.sqlite.declaring import Declare
from taskq.broker.sqlite.location import read_location
from taskq.broker.sqlite.packing import pack
from taskq.clock import SystemClock
from taskq.errors import BrokerBlocked, ExchangeMismatch, UsageError
from taskq.lifecycle import Event, SubscriptionGap
from taskq.tasks.exchanges import Binding, ExchangeDefinition, ExchangeKind, TemporaryQueue
from taskq.tasks.queues import Queue
from taskq.wire.headers import EXCHANGE, KEY
from tests.conformance.stand import (
    HoldingProcess,
    message,
    publish,
    subscribed,
    temporary,
    through,
    to,
)
from tests.support.waiting import eventually

NEWS = ExchangeDefinition(name="news", kind="topic")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(open_database(read_location("memory://"), 1.0)) as db:
        yield db


def rows(broker: SqliteBroker, table: str) -> int:
    with closing(sqlite3.connect(broker.label.removeprefix("sqlite:///"), timeout=5)) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.mark.parametrize(("kind", "reads"), [("fanout", 1), ("topic", 1), ("headers", 1), ("direct", 2)])
def test_a_transaction_reads_the_bindings_once(db: sqlite3.Connection, kind: ExchangeKind, reads: int) -> None:
    bindings = [Binding(exchange="news", queue="work", key=f"k{n}", headers={"n": n}) for n in range(9)]
    Declare([Queue("work")], [ExchangeDefinition(name="news", kind=kind)], bindings).run(Batch(db, "memory"))
    statements: list[str] = []
    db.set_trace_callback(statements.append)
    batch = Batch(db, "memory")
    for number in range(100):
        assert batch.put(pack(through("news", f"k{number % 2}", n=number % 9), 0.0))
    batch.write()
    assert sum("FROM binding" in statement for statement in statements) == reads
    assert db.execute("SELECT count(*) FROM message").fetchone() == (100,)


def test_a_declaration_that_contradicts_itself_makes_nothing(db: sqlite3.Connection) -> None:
    with pytest.raises(ExchangeMismatch):
        Declare([Queue("work")], [NEWS, ExchangeDefinition(name="news", kind="fanout")], []).run(Batch(db, "memory"))
    assert db.execute("SELECT (SELECT count(*) FROM queue) + (SELECT count(*) FROM exchange)").fetchone() == (0,)


def test_a_message_that_says_where_it_came_from_goes_on_saying_it() -> None:
    forwarded = pack(through("news", "x", **{EXCHANGE: "first", KEY: "y"}), 0.0)
    assert forwarded.outgoing.message.headers == {EXCHANGE: "first", KEY: "y"}


def test_a_message_for_an_exchange_cannot_be_delayed() -> None:
    delayed = through("news", "x")
    with pytest.raises(UsageError, match="cannot be delayed"):
        pack(type(delayed)(message(), "x", not_before=1.0, exchange="news"), 0.0)


async def test_a_killed_process_leaves_no_rows_of_its_temporary_queue(tmp_path: Path) -> None:
    async with SqliteBroker(f"sqlite:///{tmp_path / 'taskq.db'}", clock=SystemClock()) as broker:
        await broker.declare([], exchanges=[NEWS])
        own = temporary()
        holder = HoldingProcess(broker.label, own.name, 0, "news", "#")
        holder.wait_until_it_holds()
        await publish(broker, through("news", "x"))
        assert [rows(broker, table) for table in ("queue", "binding", "message")] == [1, 1, 1]
        holder.kill()
        gone = [0, 0, 0, 0]
        await eventually(
            lambda: [rows(broker, table) for table in ("queue", "binding", "message", "consumer")] == gone, "the sweep"
        )


async def test_who_was_taken_for_dead_gets_its_temporary_queue_again_and_is_told_what_it_may_have_missed(
    tmp_path: Path,
) -> None:
    events: list[Event] = []
    url = f"sqlite:///{tmp_path / 'taskq.db'}"
    async with (
        SqliteBroker(url, clock=SystemClock(), lease_s=1.0, emit=events.append) as paused,
        SqliteBroker(url, clock=SystemClock()) as other,
    ):
        await other.declare([], exchanges=[NEWS])
        catch, _ = await subscribed(paused, temporary(("news", "x"), label="prices"))
        with closing(sqlite3.connect(other.label.removeprefix("sqlite:///"), timeout=5)) as db, db:
            db.execute("UPDATE process SET boot_id = 'before' WHERE id = (SELECT owner FROM queue)")
        await eventually(lambda: events, "the process found that it was taken for dead")
        await publish(other, through("news", "x", b"1", mandatory=True))
        assert await catch.settled() == b"1"
    (gap,) = events
    assert isinstance(gap, SubscriptionGap)
    assert gap.subscription == "prices"
    assert 0 < gap.missing_s < 10


async def test_a_limit_holds_for_what_is_published_to_the_queue_by_its_name_too(tmp_path: Path) -> None:
    async with SqliteBroker(f"sqlite:///{tmp_path / 'taskq.db'}", clock=SystemClock()) as broker:
        own = temporary(limit=2)
        catch, _ = await subscribed(broker, own)
        await publish(broker, to(own.name, b"held"))
        held = await catch.next()
        await publish(broker, *[to(own.name, b"%d" % number) for number in range(100)])
        await held.settle()
        assert [await catch.settled() for _ in range(2)] == [b"98", b"99"]


def rejecting(db: sqlite3.Connection, limit: int) -> TemporaryQueue:
    own = temporary(("news", "#"), limit=limit, overflow="reject-publish")
    batch = Batch(db, "memory")
    Declare([], [NEWS], []).run(batch)
    db.execute("INSERT INTO process VALUES (1, 1, 1, '', '', 1e9, 0)")
    values = (own.name, own.limit, own.overflow)
    db.execute("INSERT INTO queue (name, kind, owner, max_length, overflow) VALUES (?, 'temporary', 1, ?, ?)", values)
    for binding in own.bindings:
        bind(batch, binding)
    return own


def test_what_is_claimed_in_a_transaction_makes_room_in_it(db: sqlite3.Connection) -> None:
    own = rejecting(db, limit=1)
    batch, packed = Batch(db, "memory"), pack(through("news", "x"), 0.0)
    route = batch.route(own.name)
    assert route is not None
    for _ in range(2):
        batch.put(packed)
        with pytest.raises(BrokerBlocked):
            batch.put(packed)
        assert len(take(batch, route.queue, 1, 9, 0.0)) == 1
    batch.put(packed)


def test_replacements_are_refused_together_when_there_is_no_room_for_all(db: sqlite3.Connection) -> None:
    own = rejecting(db, limit=2)
    batch = Batch(db, "memory")
    both = pack(through("news", "x"), 0.0), pack(to(own.name), 0.0)
    batch.check(both)
    batch.put(both[0])
    with pytest.raises(BrokerBlocked):
        batch.check(both)


async def test_what_an_exchange_passes_to_nobody_counts_as_no_dropped_reply(tmp_path: Path) -> None:
    events: list[Event] = []
    async with SqliteBroker(f"sqlite:///{tmp_path / 'taskq.db'}", clock=SystemClock(), emit=events.append) as broker:
        await broker.declare([], exchanges=[NEWS])
        await publish(broker, through("news", "x"))
        assert (broker.dropped_replies, events) == (0, [])
