"""Who is dead: pids, start times, leases; a pause past the lease; many processes on one file."""

import asyncio
import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskq.broker.sqlite import SqliteBroker
from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.database import open_database
from taskq.broker.sqlite.location import read_location
from taskq.broker.sqlite.membership import Membership
from taskq.broker.sqlite.process import this_process
from taskq.broker.sqlite.wakeups import WakeupSocket
from taskq.clock import SystemClock
from taskq.tasks.queues import Queue
from taskq.testing import MovableClock
from tests.conformance.stand import TIMEOUT_S, HoldingProcess, consuming, publish, to, turnover
from tests.support.freezing import freeze
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'taskq.db'}"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_a_living_process_is_not_gone(sleeper: "subprocess.Popen[bytes]") -> None:
    assert not this_process().is_gone()


def test_a_pid_with_another_start_time_is_another_process() -> None:
    me = this_process()
    assert dataclasses.replace(me, start_time=(me.start_time or 0) + 1).is_gone()


def test_a_process_that_ended_is_gone_also_before_its_parent_asks(sleeper: "subprocess.Popen[bytes]") -> None:
    stat = Path(f"/proc/{sleeper.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    process = dataclasses.replace(this_process(), pid=sleeper.pid, start_time=int(stat[19]))
    assert not process.is_gone()
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    assert process.is_gone()
    sleeper.wait()
    assert process.is_gone()


def test_where_there_is_no_proc_or_it_hides_others_a_signal_tells_who_lives(
    sleeper: "subprocess.Popen[bytes]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.broker.sqlite.process._PROC", tmp_path)
    other = dataclasses.replace(this_process(), pid=sleeper.pid)
    assert (other.start_time, other.boot_id, other.pid_namespace) == (None, "", "")
    assert not other.is_gone()
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "stat").touch()
    assert not other.is_gone()
    sleeper.kill()
    sleeper.wait()
    assert other.is_gone()


def test_only_processes_of_one_boot_and_namespace_see_each_other() -> None:
    me = this_process()
    assert me.is_seen_from(me)
    assert not dataclasses.replace(me, boot_id="other").is_seen_from(me)
    assert not dataclasses.replace(me, pid_namespace="other").is_seen_from(me)


async def test_a_blocked_loop_does_not_cost_the_lease(url: str) -> None:
    async with (
        SqliteBroker(url, clock=SystemClock(), lease_s=1.0) as first,
        SqliteBroker(url, clock=SystemClock(), lease_s=1.0) as second,
    ):
        await first.declare([Queue("work")])
        await publish(first, to("work"))
        catch, _ = await consuming(first, "work")
        delivery = await catch.next()
        await turnover(second)
        time.sleep(2.5)  # what a task does that it should not do
        assert (await delivery.settle()).value == "done"


async def test_a_lock_longer_than_the_lease_makes_nobody_dead(url: str) -> None:
    async with (
        SqliteBroker(url, clock=SystemClock(), lease_s=1.0) as first,
        SqliteBroker(url, clock=SystemClock(), lease_s=1.0) as second,
    ):
        await first.declare([Queue("work")])
        await publish(first, to("work"), to("work"))
        catches = [(await consuming(broker, "work"))[0] for broker in (first, second)]
        deliveries = [await catch.next() for catch in catches]
        db = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        time.sleep(2.0)
        db.close()

        async def renewed() -> bool:
            return await rows(first, f"process WHERE lease_until > {time.monotonic()}") == 2

        await eventually(renewed, "both have a lease again; who swept the other would have done it by now")
        assert [(await delivery.settle()).value for delivery in deliveries] == ["done", "done"]


def test_a_lease_that_was_over_in_a_transaction_that_could_not_be_stored_makes_nobody_dead(tmp_path: Path) -> None:
    clock = MovableClock()
    location = read_location(f"sqlite:///{tmp_path / 'taskq.db'}")
    wakeups = WakeupSocket()
    membership = Membership(this_process(), clock, 15.0, wakeups, None)
    with closing(open_database(location, 1.0)) as db, closing(wakeups):
        me = this_process()
        other = (me.pid, me.start_time, me.boot_id, me.pid_namespace, clock.monotonic() - 1.0)
        db.execute("INSERT INTO process VALUES (NULL, ?, ?, ?, ?, ?, 0)", other)
        found: list[int] = []
        for end in ("ROLLBACK", "ROLLBACK", "COMMIT", "COMMIT"):  # the disk is full, and then it is not
            assert membership.keep(db, idle=True)
            db.execute("BEGIN IMMEDIATE")
            membership.enter(Batch(db, location.label))
            db.execute(end)
            if end == "ROLLBACK":
                membership.rolled_back()
            found.append(db.execute("SELECT count(*) FROM process WHERE wake_port = 0").fetchone()[0])
            clock.advance(5.0)
        assert found == [1, 1, 1, 0]


async def rows(broker: SqliteBroker, table: str) -> int:
    db = sqlite3.connect(broker.label.removeprefix("sqlite:///"))
    (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
    db.close()
    return int(count)


async def test_a_process_whose_pid_cannot_be_seen_is_dead_when_its_lease_is_over(url: str) -> None:
    async with SqliteBroker(url, clock=SystemClock(), lease_s=1.0) as broker:
        await broker.declare([Queue("work")])
        await publish(broker, to("work"))
        holder = HoldingProcess(url, "work", 1)
        holder.wait_until_it_holds()
        db = sqlite3.connect(broker.label.removeprefix("sqlite:///"), isolation_level=None, timeout=5)
        lease = time.monotonic() + 1.5
        freeze(holder.process.pid)  # so that it does not renew
        db.execute(
            "UPDATE process SET pid_namespace = 'container', lease_until = ? WHERE pid = ?", (lease, holder.process.pid)
        )
        db.close()
        holder.kill()
        catch, _ = await consuming(broker, "work")
        assert (await catch.next()).redeliveries == 1
        assert time.monotonic() >= lease


async def test_a_process_of_another_boot_is_dead(url: str) -> None:
    async with SqliteBroker(url, clock=SystemClock()) as broker:
        await broker.declare([Queue("work")])
        db = sqlite3.connect(broker.label.removeprefix("sqlite:///"), isolation_level=None, timeout=5)
        db.execute("INSERT INTO process VALUES (NULL, 1, 1, 'before', '', 1e300, 0)")
        db.close()

        async def alone() -> bool:
            return await rows(broker, "process") == 1

        await eventually(alone, "the process of the earlier boot is gone")


async def test_a_lease_longer_than_any_is_of_an_earlier_boot_that_the_system_does_not_tell(url: str) -> None:
    async with SqliteBroker(url, clock=SystemClock(), lease_s=1.0) as broker:
        await broker.declare([Queue("work")])
        db = sqlite3.connect(broker.label.removeprefix("sqlite:///"), isolation_level=None, timeout=5)
        values = (os.getpid(), this_process().boot_id, time.monotonic() + 86_400)
        db.execute("INSERT INTO process VALUES (NULL, ?, 1, ?, 'unseen', ?, 0)", values)
        db.close()

        async def alone() -> bool:
            return await rows(broker, "process") == 1

        await eventually(alone, "the process of the earlier boot is gone")


async def test_a_killed_process_leaves_no_rows_behind(url: str) -> None:
    async with SqliteBroker(url, clock=SystemClock()) as broker:
        await broker.declare([Queue("work")])
        await publish(broker, to("work"))
        holder = HoldingProcess(url, "work", 1)
        holder.wait_until_it_holds()
        assert (await rows(broker, "process"), await rows(broker, "consumer")) == (2, 1)
        holder.kill()

        async def clean() -> bool:
            return (await rows(broker, "process"), await rows(broker, "consumer")) == (1, 0)

        await eventually(clean, "the sweep")


PAUSED = """
import asyncio, sys
from taskq.broker.protocol import Outgoing
from taskq.broker.sqlite import SqliteBroker
from taskq.clock import SystemClock

def say(*words):
    print(*words, flush=True)

async def main():
    arrived = asyncio.Queue()
    async with SqliteBroker(sys.argv[1], clock=SystemClock(), lease_s=1.0) as broker:
        inbox = await broker.open_inbox(lambda reply: say("reply", reply.body.decode()))
        await broker.consume("work", prefetch=1, deliver=arrived.put_nowait)
        delivery = await arrived.get()
        say("holding", inbox.address)
        await asyncio.to_thread(sys.stdin.readline)
        say((await delivery.settle()).value)
        while True:
            delivery = await arrived.get()
            say("got", delivery.message.body.decode(), (await delivery.settle()).value)

asyncio.run(main())
"""


async def test_a_process_that_was_paused_past_its_lease_has_lost_its_delivery_and_goes_on(url: str) -> None:
    async with SqliteBroker(url, clock=SystemClock(), lease_s=1.0) as broker:
        await broker.declare([Queue("work")])
        await publish(broker, to("work", b"1"))
        child = subprocess.Popen(
            [sys.executable, "-c", PAUSED, url], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            word, address = (await asyncio.to_thread(child.stdout.readline)).split()
            assert word == "holding"
            freeze(child.pid)
            catch, consumer = await consuming(broker, "work")
            ours = await catch.next()
            assert (ours.message.body, ours.redeliveries) == (b"1", 1)
            await consumer.stop()
            os.kill(child.pid, signal.SIGCONT)
            child.stdin.write("settle\n")
            child.stdin.flush()
            assert await asyncio.to_thread(child.stdout.readline) == "lost\n"
            assert (await ours.settle()).value == "done"
            await publish(broker, to("work", b"2"))
            assert await asyncio.to_thread(child.stdout.readline) == "got 2 done\n"
            await broker.publish(to(address, b"3"), timeout_s=TIMEOUT_S)
            assert await asyncio.to_thread(child.stdout.readline) == "reply 3\n"
        finally:
            child.kill()
            child.wait()
            child.stdin.close()
            child.stdout.close()


CONTENDER = """
import asyncio, sys
from taskq.broker.protocol import Outgoing
from taskq.broker.sqlite import SqliteBroker
from taskq.clock import SystemClock
from taskq.wire.ids import new_message_id
from taskq.wire.message import Message

async def main(url, me, count):
    arrived = asyncio.Queue()
    async with SqliteBroker(url, clock=SystemClock()) as broker:
        await broker.consume("work", prefetch=2, deliver=arrived.put_nowait)
        async def work():
            while True:
                delivery = await arrived.get()
                outgoing = Outgoing(Message(body=delivery.message.body, message_id=new_message_id()), "done")
                assert (await delivery.settle([outgoing])).value == "done"
        working = [asyncio.create_task(work()) for _ in range(2)]
        for number in range(count):
            body = f"{me}-{number}".encode()
            await broker.publish(Outgoing(Message(body=body, message_id=new_message_id()), "work"), timeout_s=30)
        await asyncio.to_thread(sys.stdin.read)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def test_eight_processes_on_one_file_do_everything_once(url: str) -> None:
    each = 50
    async with SqliteBroker(url, clock=SystemClock()) as broker:
        await broker.declare([Queue("work"), Queue("done")])
        children = [
            subprocess.Popen(
                [sys.executable, "-c", CONTENDER, url, str(number), str(each)], cwd=ROOT, stdin=subprocess.PIPE
            )
            for number in range(8)
        ]
        try:

            async def all_done() -> bool:
                return len(await broker.inspector.browse("done", limit=1_000)) >= 8 * each

            await eventually(all_done, "all jobs were done", within_s=60, look_s=0.2)
        finally:
            for child in children:
                assert child.stdin is not None
                child.stdin.close()
        assert [await asyncio.to_thread(child.wait, 30) for child in children] == [0] * 8
        done = [message.body for message in await broker.inspector.browse("done", limit=1_000)]
        assert sorted(done) == sorted(f"{me}-{number}".encode() for me in range(8) for number in range(each))
        assert await rows(broker, "process") == 1


def test_a_row_that_was_stored_is_not_forgotten_when_the_next_transaction_fails(tmp_path: Path) -> None:
    location = read_location(f"sqlite:///{tmp_path / 'taskq.db'}")
    membership = Membership(this_process(), MovableClock(), 15.0, None, None)
    with closing(open_database(location, 1.0)) as db:
        for fails in (False, True, False):
            db.execute("BEGIN IMMEDIATE")
            if fails:
                db.set_authorizer(lambda *what: sqlite3.SQLITE_DENY)  # its first statement fails
                with pytest.raises(sqlite3.DatabaseError):
                    membership.enter(Batch(db, location.label))
                db.set_authorizer(None)
                db.execute("ROLLBACK")
                membership.rolled_back()
            else:
                membership.enter(Batch(db, location.label))
                db.execute("COMMIT")
        assert db.execute("SELECT count(*) FROM process").fetchall() == [(1,)]
