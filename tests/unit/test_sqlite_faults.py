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

from taskq import TaskQ
from taskq.broker.protocol import Outgoing, Settlement
from taskq.broker.sqlite import SqliteBroker
from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.faults import Fault
from taskq.broker.sqlite.operation import Operation
from taskq.broker.sqlite.system import System
from taskq.broker.sqlite.trouble import Trouble as EngineTrouble
from taskq.clock import SystemClock
from taskq.errors import BrokerBlocked, BrokerUnreachable, PublishUnconfirmed, UsageError
from taskq.lifecycle import BrokerEvent, ConsumerInterrupted, ConsumerResumed, Event
from taskq.tasks.queues import Queue
from taskq.testing import MovableClock
from tests.conformance.stand import TIMEOUT_S, consuming, message, publish, to, turnover
from tests.simulation.database import SimulatedConnection, Trouble, opener
from tests.support.waiting import eventually, until


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
    with pytest.raises(PublishUnconfirmed):
        await sending
    with pytest.raises(BrokerBlocked, match="began and did not end in time; it may have been stored all the same"):
        await holding_up  # it stores no message, so it says nothing of one


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


def told_of(events: list[Event]) -> list[tuple[type[Event], str]]:
    return [(type(event), event.queue) for event in events if isinstance(event, ConsumerInterrupted | ConsumerResumed)]


INTERRUPTED, RESUMED = (
    [(kind, queue) for queue in ("next", "work")] for kind in (ConsumerInterrupted, ConsumerResumed)
)


@pytest.fixture
async def two_consumed(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[SqliteBroker, list[Event]]]:
    """A broker that consumes two empty queues, and what it tells; it is quicker to tell than usual."""
    monkeypatch.setattr("taskq.broker.sqlite.trouble._LONG_S", 0.4)
    monkeypatch.setattr("taskq.broker.sqlite.trouble._CALM_S", 0.4)
    told: list[Event] = []
    async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock(), emit=told.append) as broker:
        await broker.declare([Queue("work"), Queue("next")])
        for queue in ("work", "next"):
            await consuming(broker, queue)
        yield broker, told


async def test_an_idle_worker_tells_of_a_lock_that_lasts_once_and_of_its_end(
    two_consumed: tuple[SqliteBroker, list[Event]], path: Path
) -> None:
    _, told = two_consumed
    with Locked(path):
        await until(lambda: told)
        await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0.5))])
        assert told_of(told) == INTERRUPTED
        assert isinstance(told[0], ConsumerInterrupted)
        assert "locked by another program; look for an open transaction" in told[0].reason
    await until(lambda: len(told) == 4)
    assert told_of(told) == [*INTERRUPTED, *RESUMED]


async def test_locks_that_pass_are_not_worth_a_word(two_consumed: tuple[SqliteBroker, list[Event]], path: Path) -> None:
    broker, told = two_consumed
    for _ in range(8):
        with Locked(path):
            sending = asyncio.ensure_future(broker.publish(to("work"), timeout_s=TIMEOUT_S))
            await asyncio.wait([sending], timeout=0.1)
        await sending
    assert told == []


async def test_a_full_disk_is_told_while_a_job_that_ended_waits_for_room(
    two_consumed: tuple[SqliteBroker, list[Event]],
) -> None:
    broker, told = two_consumed
    await broker.declare([Queue("third")])
    catch, _ = await consuming(broker, "third")
    await publish(broker, to("third"))
    delivery = await catch.next()
    await run(broker, Script("PRAGMA max_page_count = 1"))
    settling = asyncio.create_task(delivery.settle([to("third.dead", bytes(100_000))]))
    await until(lambda: len(told) == 3)
    assert [type(event) for event in told] == [ConsumerInterrupted] * 3
    assert all("free some space on its disk" in str(event) for event in told)
    await run(broker, Script("PRAGMA max_page_count = 1000000"))
    assert await settling is Settlement.DONE
    await until(lambda: len(told) == 6)
    assert [type(event) for event in told[3:]] == [ConsumerResumed] * 3


async def test_what_can_be_stored_between_failures_is_not_their_end(
    two_consumed: tuple[SqliteBroker, list[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, told = two_consumed
    monkeypatch.setattr("taskq.broker.sqlite.trouble._CALM_S", 2.0)
    await publish(broker, to("work.dead", b"1"))
    await run(broker, Script("PRAGMA max_page_count = 1"))
    catch, _ = await consuming(broker, "work.dead")
    settling = asyncio.create_task((await catch.next()).settle([to("next.dead", bytes(100_000))]))
    await until(lambda: told)
    for _ in range(8):  # each with room for itself
        await run(broker, Script("UPDATE queue SET max_priority = max_priority"))
        await asyncio.wait([settling], timeout=0.05)
    assert {type(event) for event in told} == {ConsumerInterrupted}
    await run(broker, Script("PRAGMA max_page_count = 1000000"))
    await settling


async def test_who_stopped_is_told_no_more(two_consumed: tuple[SqliteBroker, list[Event]], path: Path) -> None:
    broker, told = two_consumed
    assert broker._session is not None
    for consumer in broker._session.consumers:
        await consumer.stop()  # type: ignore[attr-defined]
    with Locked(path):
        sending = asyncio.ensure_future(broker.publish(to("work"), timeout_s=TIMEOUT_S))
        await asyncio.wait([sending], timeout=0.8)
    await sending
    assert [event for event in told if isinstance(event, BrokerEvent)] == []


async def test_leaving_a_file_that_stays_locked_takes_no_longer_than_what_is_owed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only tidies up is seen to by others, once we are gone."""
    monkeypatch.setattr("taskq.broker.sqlite.broker._STUCK_S", 0.3)
    async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock()) as broker:
        await broker.declare([Queue("work")])
        await consuming(broker, "work")
        await broker.open_inbox(lambda reply: None)
        lock = Locked(path)
        lock.__enter__()
        began = time.monotonic()
    took_s = time.monotonic() - began
    lock.__exit__()
    assert 0.3 < took_s < 2.0


async def test_a_worker_that_stops_on_a_locked_file_waits_once_for_what_it_could_not_store(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.worker.worker._CUT_S", 2.2)
    monkeypatch.setattr("taskq.broker.sqlite.broker._OWED_S", 2.2)
    app = TaskQ[object]("shop", url=f"sqlite:///{path}", grace=0.1)
    lock = Locked(path)

    @app.task
    async def last() -> None:
        lock.__enter__()

    async with app:
        worker = app.worker()
        running = asyncio.create_task(worker.run())
        await last.enqueue()
        await until(lambda: worker.running)
        broker = app.connection.broker
        assert isinstance(broker, SqliteBroker)
        await until(lambda: broker._open().submitter.stuck_s)
        began = time.monotonic()
        worker.stop("the test")
        await running
        consumers_s = time.monotonic() - began
    took_s = time.monotonic() - began
    lock.__exit__()
    assert 2.2 < consumers_s < took_s < 3.4, "the grace, the cut, and nothing on top of it"
    assert table(path, "SELECT count(*) FROM message") == [(1,)], "it runs again, elsewhere"


def test_a_fault_of_long_ago_is_not_the_beginning_of_one_that_is_met_now() -> None:
    clock = MovableClock()
    trouble = EngineTrouble("sqlite:///taskq.db", clock)
    locked = sqlite3.OperationalError("database is locked")

    def meet(times: int) -> None:
        for _ in range(times):
            trouble.met(Fault.LOCKED, BrokerBlocked("locked"), locked)
            clock.advance(0.5)

    meet(6)
    assert trouble.lasts_s == 3.0
    clock.advance(60)  # who waited has given up, and nothing was stored since
    assert trouble.lasts_s == 0.0
    meet(2)
    assert trouble.lasts_s == 1.0
    trouble.passed()
    assert trouble.lasts_s == 0.0


async def test_leaving_waits_for_a_job_that_ended_while_the_file_is_locked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.broker.sqlite.broker._STUCK_S", 0.1)
    async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock()) as broker:
        await broker.declare([Queue("work"), Queue("next")])
        await publish(broker, to("work"))
        catch, _ = await consuming(broker, "work")
        delivery = await catch.next()
        lock = Locked(path)
        lock.__enter__()
        settling = asyncio.create_task(delivery.settle([to("next", b"result")]))
        asyncio.get_running_loop().call_later(1.5, lock.__exit__)
    assert await settling is Settlement.DONE
    assert table(path, "SELECT body FROM message") == [(b"result",)]
    assert table(path, "SELECT count(*) FROM process") == [(0,)]
