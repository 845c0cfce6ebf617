"""`taskq worker` and its signals: stopping in order, a second signal, threads that never end, a supervisor."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commandline import CommandLine, eventually, is_alive


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[CommandLine]:
    with CommandLine(tmp_path) as opened:
        yield opened


def napping(folder: Path) -> list[int]:
    """The processes that run a nap or have run one."""
    return [int(path.name.rpartition("-")[2]) for path in folder.glob("napping-*")]


def test_a_stopped_worker_lets_the_running_job_end_and_ends_with_0(shop: CommandLine) -> None:
    worker = shop.start_worker("--queue", "slow=2")
    assert worker.events("WorkerStarted")[0]["queues"] == {"slow": 2}
    shop.enqueue("nap", "slow", seconds=0.5)
    worker.until(lambda: napping(shop.folder), "the job runs")
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0
    assert [event["task"] for event in worker.events("JobSucceeded")] == ["nap"]


def test_a_second_signal_cuts_the_grace_time_short(shop: CommandLine) -> None:
    worker = shop.start_worker("--grace", "1000")
    shop.enqueue("nap", "slow", seconds=1000)
    worker.until(lambda: napping(shop.folder), "the job runs")
    worker.send_group(signal.SIGINT)
    worker.until(lambda: worker.events("WorkerStopping"), "it stops")
    assert worker.events("WorkerStopping")[0]["grace_s"] == 1000
    worker.send_group(signal.SIGINT)
    assert worker.ended() == 0
    assert [event["task"] for event in worker.events("JobHandedBack")] == ["nap"]


def test_a_thread_that_never_ends_does_not_hold_the_exit(shop: CommandLine) -> None:
    worker = shop.start_worker("--grace", "0")
    shop.enqueue("hang", "stuck")
    worker.until((shop.folder / "hanging").exists, "the thread runs")
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0
    assert worker.events("WorkerStopped")[0]["threads"] == 1


@pytest.mark.parametrize(
    ("task", "held_by"),
    [
        ("hang_in_pool", "threads that do not end ("),
        ("hang_beside", "coroutines that swallow their cancellation;"),
    ],
)
def test_what_a_task_began_itself_does_not_hold_the_exit(shop: CommandLine, task: str, held_by: str) -> None:
    worker = shop.start_worker("--grace", "0")
    shop.enqueue(task, "stuck")
    worker.until((shop.folder / "hanging").exists, "it runs")
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0
    assert [event["task"] for event in worker.events("JobHandedBack")] == [task]
    assert f"held for 5 s by {held_by}" in worker.log


def test_a_start_that_hangs_can_be_stopped(shop: CommandLine) -> None:
    (shop.folder / "slow_start.py").write_text(
        "import asyncio\n"
        "from contextlib import asynccontextmanager\n"
        "from pathlib import Path\n"
        "from shop import app\n"
        "@asynccontextmanager\n"
        "async def lifespan():\n"
        "    Path('starting').touch()\n"
        "    await asyncio.Event().wait()\n"
        "    yield\n"
        "app.lifespan = lifespan\n"
    )
    worker = shop.start("worker", "slow_start:app")
    worker.until((shop.folder / "starting").exists, "it starts")
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0


def test_a_supervisor_replaces_a_killed_child_and_ends_with_all_of_them(shop: CommandLine) -> None:
    supervisor = shop.start_worker("--processes", "2", count=2)
    first = {event["pid"] for event in supervisor.events("WorkerStarted")}
    assert len(first) == 2
    assert supervisor.pid not in first
    victim = first.pop()
    os.kill(victim, signal.SIGKILL)
    supervisor.until(lambda: len(supervisor.events("WorkerStarted")) == 3, "a new child consumes")
    supervisor.send_group(signal.SIGINT)  # Ctrl-C reaches the supervisor alone
    assert supervisor.ended() == 0
    pids = {event["pid"] for event in supervisor.events("WorkerStarted")}
    assert [event["reason"] for event in supervisor.events("WorkerStopping")] == ["SIGTERM", "SIGTERM"]
    assert not any(map(is_alive, pids))


def test_a_supervisor_that_is_stopped_while_its_children_start_ends_with_0(shop: CommandLine) -> None:
    supervisor = shop.start("worker", "shop:app", "--processes", "2")
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children")
    supervisor.until(lambda: len(children.read_text().split()) == 2, "both were started")
    pids = [int(pid) for pid in children.read_text().split()]
    supervisor.send(signal.SIGTERM)
    assert supervisor.ended() == 0
    assert not any(map(is_alive, pids))


def test_children_end_when_their_supervisor_is_killed(shop: CommandLine) -> None:
    supervisor = shop.start_worker("--processes", "2", count=2)
    pids = {event["pid"] for event in supervisor.events("WorkerStarted")}
    supervisor.send(signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, pids)), lambda: supervisor.log)
    assert {event["reason"] for event in supervisor.events("WorkerStopping")} == {"the supervisor is gone"}
