"""A database that cannot be written: who waits, who fails, and that nothing is lost."""

import asyncio
import gc
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskq.broker.protocol import Outgoing, Settlement
from taskq.broker.sqlite import SqliteBroker
from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.operation import Operation
from taskq.broker.sqlite.system import System
from taskq.clock import SystemClock
from taskq.errors import BrokerBlocked, BrokerUnreachable, PublishUnconfirmed, UsageError
from taskq.tasks.queues import Queue
from tests.conformance.stand import TIMEOUT_S, consuming, message, publish, to, turnover
from tests.simulation.database import SimulatedConnection, Trouble, opener
from tests.support.waiting import eventually


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "taskq.db"


@pytest.fixture
async def broker(path: Path) -> AsyncIterator[SqliteBroker]:
    async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock()) as broker:
        await broker.declare([Queue("work"), Queue("next")])
        yield broker


class Locked:
    """Another program that has the write lock of the file."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        self._db.close()


def table(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


class Script(Operation[Any]):
    """An operation that a test puts between the others."""

    def __init__(self, *statements: str, wait_for: threading.Event | None = None) -> None:
        self._statements = statements
        self._wait_for = wait_for

    def run(self, batch: Batch) -> Any:
        for statement in self._statements:
            batch.db.execute(statement)
        if self._wait_for is not None:
            assert self._wait_for.wait(20)


def run(broker: SqliteBroker, script: Script) -> "asyncio.Future[Any]":
    return broker._open().submitter.submit(script)


async def test_a_publish_on_a_locked_file_is_blocked_and_stored_nowhere(broker: SqliteBroker, path: Path) -> None:
    with Locked(path):
        started = time.monotonic()
        with pytest.raises(BrokerBlocked, match=r"locked by another program.*nothing was stored"):
            await broker.publish(to("work"), timeout_s=0.4)
        assert 0.35 < time.monotonic() - started < 2
    await turnover(broker)
    assert await broker.inspector.browse("work", limit=9) == []
    await broker.publish(to("work"), timeout_s=TIMEOUT_S)


async def test_a_lock_that_passes_before_the_deadline_is_only_waited_for(broker: SqliteBroker, path: Path) -> None:
    with Locked(path):
        sends = [asyncio.ensure_future(broker.publish(to("work"), timeout_s=TIMEOUT_S)) for _ in range(20)]
        done, _ = await asyncio.wait(sends, timeout=0.3)
        assert not done
    await asyncio.gather(*sends)
    assert len(await broker.inspector.browse("work", limit=99)) == 20


async def test_each_publish_keeps_its_own_deadline_on_a_locked_file(broker: SqliteBroker, path: Path) -> None:
    with Locked(path):
        patient = asyncio.ensure_future(broker.publish(to("work", b"patient"), timeout_s=TIMEOUT_S))
        for _ in range(2):
            with pytest.raises(BrokerBlocked):
                await broker.publish(to("work", b"hasty"), timeout_s=0.2)
    await patient
    assert [each.body for each in await broker.inspector.browse("work", limit=9)] == [b"patient"]


async def test_a_settle_waits_for_a_lock_for_as_long_as_it_takes(broker: SqliteBroker, path: Path) -> None:
    await publish(broker, to("work"))
    catch, _ = await consuming(broker, "work")
    delivery = await catch.next()
    with Locked(path):
        settling = asyncio.create_task(delivery.settle([to("next")]))
        done, _ = await asyncio.wait([settling], timeout=0.5)
        assert not done
    assert await settling is Settlement.DONE
    assert len(await broker.inspector.browse("next", limit=9)) == 1


async def test_a_cancelled_publish_that_has_not_begun_is_withdrawn(broker: SqliteBroker, path: Path) -> None:
    with Locked(path):
        sending = asyncio.ensure_future(broker.publish(to("work"), timeout_s=TIMEOUT_S))
        await asyncio.wait([sending], timeout=0.1)
        sending.cancel()
    await turnover(broker)
    assert await broker.inspector.browse("work", limit=9) == []


async def test_a_publish_that_has_begun_and_does_not_end_is_unconfirmed(broker: SqliteBroker) -> None:
    slow = threading.Event()
    holding_up = run(broker, Script(wait_for=slow))
    with pytest.raises(PublishUnconfirmed, match=r"within 0\.3 s"):
        await broker.publish(to("work"), timeout_s=0.3)
    slow.set()
    await holding_up
    assert len(await broker.inspector.browse("work", limit=9)) == 1


async def test_the_loop_runs_on_while_the_database_does_not(broker: SqliteBroker, path: Path) -> None:
    with Locked(path):
        sending = asyncio.ensure_future(broker.publish(to("work"), timeout_s=1.0))
        longest, before = 0.0, time.monotonic()
        while not sending.done():
            await asyncio.sleep(0.005)
            longest, before = max(longest, time.monotonic() - before), time.monotonic()
        with pytest.raises(BrokerBlocked):
            await sending
    assert longest < 0.7  # less than the whole wait, and more than a busy machine takes


async def test_on_a_full_disk_publishes_are_blocked_and_settles_wait_for_room(broker: SqliteBroker) -> None:
    await publish(broker, to("work", b"1"))
    catch, _ = await consuming(broker, "work")
    delivery = await catch.next()
    await run(broker, Script("PRAGMA max_page_count = 1"))  # no page more than there are
    with pytest.raises(BrokerBlocked, match=r"nothing was stored\. Free some space"):
        await broker.publish(to("work", bytes(100_000)), timeout_s=TIMEOUT_S)
    settling = asyncio.create_task(delivery.settle([to("next", bytes(100_000))]))
    done, _ = await asyncio.wait([settling], timeout=0.6)
    assert not done
    await run(broker, Script("PRAGMA max_page_count = 1000000"))
    assert await settling is Settlement.DONE
    assert await broker.inspector.browse("work", limit=9) == []
    assert [len(each.body) for each in await broker.inspector.browse("next", limit=9)] == [100_000]


async def test_a_broken_file_is_a_clear_error_for_everybody_who_waits(broker: SqliteBroker, path: Path) -> None:
    await publish(broker, *[to("work", bytes(10_000)) for _ in range(20)])
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    # a second broker has no pages in memory yet
    with pytest.raises(BrokerUnreachable, match="restore the file from a backup"):
        async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock()) as other:
            await other.publish(to("work"), timeout_s=TIMEOUT_S)


async def test_an_operation_that_the_database_refuses_fails_alone(broker: SqliteBroker) -> None:
    no_bytes = Outgoing(message("text"), "work")  # type: ignore[arg-type]
    sends = [broker.publish(each, timeout_s=TIMEOUT_S) for each in (to("work", b"1"), no_bytes, to("work", b"2"))]
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert [type(each) for each in results] == [type(None), sqlite3.IntegrityError, type(None)]
    assert [each.body for each in await broker.inspector.browse("work", limit=9)] == [b"1", b"2"]


async def test_an_error_that_nobody_waits_for_is_no_error_of_its_own(broker: SqliteBroker) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    broker.publish(to("nowhere"), timeout_s=TIMEOUT_S)
    run(broker, Script("INSERT INTO nowhere VALUES (1)"))
    await turnover(broker)
    gc.collect()
    assert told == []


async def test_headers_that_are_no_json_are_a_usage_error(broker: SqliteBroker) -> None:
    with pytest.raises(UsageError, match="headers"):
        broker.publish(Outgoing(message(headers={"x": object()}), "work"), timeout_s=TIMEOUT_S)


async def test_a_forked_child_cannot_use_the_broker(broker: SqliteBroker) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that forking with threads is dangerous is the point
        pid = os.fork()
    if pid == 0:
        try:
            broker.publish(to("work"), timeout_s=TIMEOUT_S)
        except UsageError:
            os._exit(42)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 42
    await broker.publish(to("work"), timeout_s=TIMEOUT_S)


async def test_closing_on_a_locked_file_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskq.broker.sqlite.broker._CLOSE_S", 0.3)
    async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock()) as broker:
        await broker.declare([Queue("work")])
        await publish(broker, to("work"))
        catch, _ = await consuming(broker, "work")
        settling = asyncio.create_task((await catch.next()).settle())
        await asyncio.sleep(0)
        lock = Locked(path)
        await settling
        lock.__enter__()
        sending = asyncio.ensure_future(broker.publish(to("work"), timeout_s=TIMEOUT_S))
        await asyncio.sleep(0)
    lock.__exit__()
    with pytest.raises(BrokerBlocked, match="closed before"):
        await sending


async def test_a_publish_that_has_begun_when_the_broker_closes_is_unconfirmed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.broker.sqlite.broker._CLOSE_S", 0.2)
    slow = threading.Event()
    async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock()) as broker:
        await broker.declare([Queue("work")])
        holding_up = run(broker, Script(wait_for=slow))
        sending = asyncio.ensure_future(broker.publish(to("work"), timeout_s=TIMEOUT_S))
        await asyncio.sleep(0)
        threading.Timer(0.5, slow.set).start()
    for each in (holding_up, sending):
        with pytest.raises(PublishUnconfirmed):
            await each


async def test_a_look_waits_for_nobody_who_writes_and_writes_nothing(broker: SqliteBroker, path: Path) -> None:
    await publish(broker, to("work", b"1"), to("work", b"2", not_before=time.time() + 0.01))
    with Locked(path):
        async with asyncio.timeout(5), SqliteBroker(f"sqlite:///{path}", clock=SystemClock()) as onlooker:
            await onlooker.declare([])
            sending = asyncio.ensure_future(broker.publish(to("work", b"3"), timeout_s=TIMEOUT_S))

            async def both_are_due() -> bool:
                return len(await onlooker.inspector.browse("work", limit=9)) == 2

            await eventually(both_are_due, "the second one is due")
            for each in (onlooker, broker):
                states = {state.name: state.ready for state in await each.inspector.queues()}
                assert states == {"next": 0, "next.dead": 0, "work": 2, "work.dead": 0}
            assert not sending.done()
            assert table(path, "SELECT count(*) FROM process") == [(1,)]
            assert table(path, "SELECT count(*) FROM message WHERE ready_at IS NOT NULL") == [(1,)]
    await sending


async def test_a_consumer_that_closes_on_a_locked_file_ends_and_gives_back_later(
    broker: SqliteBroker, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.broker.sqlite.consumer._CLOSE_S", 0.2)
    await publish(broker, to("work"))
    catch, consumer = await consuming(broker, "work")
    await catch.next()
    with Locked(path):
        for _ in range(2):
            async with asyncio.timeout(10):
                await consumer.close()
    other, _ = await consuming(broker, "work")
    assert (await other.next()).redeliveries == 1


async def test_a_row_that_was_rolled_back_is_nobodys(path: Path) -> None:
    url = f"sqlite:///{path}"
    async with SqliteBroker(url, clock=SystemClock()) as first, SqliteBroker(url, clock=SystemClock()) as second:
        with pytest.raises(sqlite3.Error):
            await run(first, Script("INSERT INTO nowhere VALUES (1)"))  # its row goes with it
        await second.declare([Queue("work")])
        await first.declare([Queue("work")])
        assert len(table(path, "SELECT id FROM process")) == 2


async def test_a_consumer_that_could_not_be_stored_takes_nothing_from_who_got_its_number(
    broker: SqliteBroker, path: Path
) -> None:
    full = True

    def before(connection: SimulatedConnection, statement: str) -> Trouble | None:
        return Trouble("full", 0, ends=False) if full and statement == "COMMIT" else None

    system = System(open_database=opener(before))
    async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock(), system=system) as other:
        with pytest.raises(BrokerBlocked):
            await other.consume("work", prefetch=1, deliver=lambda delivery: None)
        catch, _ = await consuming(broker, "work")
        await publish(broker, to("work"))
        (delivery,) = await catch.take(1)
        full = False
        await turnover(other)  # what it still had to undo is done then
        await publish(other, to("next"))
        assert await delivery.settle() is Settlement.DONE


async def test_a_consumer_whose_opening_is_cancelled_claims_nothing(broker: SqliteBroker) -> None:
    await publish(broker, to("work"))
    membership = broker._open().membership
    opening = asyncio.create_task(broker.consume("work", prefetch=1, deliver=lambda delivery: None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    until = time.monotonic() + 20
    while not membership._subscriptions and time.monotonic() < until:
        time.sleep(0.001)  # the loop stands still: it is stored, and who waits for it does not know yet
    (queue,) = membership._subscriptions
    opening.cancel()
    await asyncio.sleep(0)
    membership.wake(queue)  # as others do that publish
    with pytest.raises(asyncio.CancelledError):
        await opening
    await turnover(broker)
    catch, _ = await consuming(broker, "work")
    await catch.take(1)
