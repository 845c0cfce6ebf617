"""Sync functions in processes of their own: values, errors, and ends. Real processes, real signals."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from taskq import Reject, Retry, Snooze
from taskq.tasks.arguments import Arguments
from taskq.tasks.task import SyncTask
from taskq.worker.child import ProcessTaskError
from taskq.worker.processes import ProcessDied, Processes
from tests.support import processtasks as tasks
from tests.support.waiting import until


@pytest.fixture(scope="module")
def kept() -> Iterator[Processes]:
    """Processes that tests share: a start takes a second."""
    made = Processes()
    yield made
    made.close()


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    """Processes that no other test has used."""
    made = Processes()
    before = set(multiprocessing.active_children())
    yield made
    made.close()
    assert set(multiprocessing.active_children()) <= before


async def run(processes: Processes, task: SyncTask[..., Any], *args: object, **kwargs: object) -> Any:
    return await processes.run(task.definition, Arguments(args, kwargs))


async def appears(path: Path) -> int:
    """Return the number that another process writes to ``path``."""
    await until(lambda: path.exists() and path.read_text())
    return int(path.read_text())


async def started(before: set[BaseProcess]) -> BaseProcess:
    """Return the process that is started, on another thread, beside those that were there ``before``."""
    await until(lambda: set(multiprocessing.active_children()) - before)
    (child,) = set(multiprocessing.active_children()) - before
    return child


async def gone(pid: int) -> None:
    """Return when a process has ended, a zombie included."""
    await until(lambda: not Path(f"/proc/{pid}").exists())


async def test_values_come_back_from_one_process_that_is_kept(kept: Processes) -> None:
    first = await run(kept, tasks.where)
    assert first != os.getpid()
    assert await run(kept, tasks.add, 1) == 11
    assert await run(kept, tasks.add, 1, b=2) == 3
    assert await run(kept, tasks.where) == first


async def test_error_comes_back_with_its_notes_and_the_traceback_of_its_process(kept: Processes) -> None:
    with pytest.raises(ValueError, match="no") as caught:
        await run(kept, tasks.fail, "noted")
    notes = caught.value.__notes__
    assert notes[0] == "while reading line 7"
    assert "in the task's process" in notes[1]
    assert "processtasks.py" in notes[1]
    assert await run(kept, tasks.add, 1) == 11


async def test_wishes_of_a_process_task_come_back_whole(kept: Processes) -> None:
    with pytest.raises(Retry) as retry:
        await run(kept, tasks.fail, "retry")
    with pytest.raises(Snooze) as snooze:
        await run(kept, tasks.fail, "snooze")
    with pytest.raises(Reject) as reject:
        await run(kept, tasks.fail, "reject")
    assert (retry.value.reason, retry.value.after_s) == ("busy", 7.0)
    assert (snooze.value.delay_s, reject.value.reason) == (9.0, "never")


async def test_error_that_cannot_be_carried_is_named(kept: Processes) -> None:
    with pytest.raises(ProcessTaskError, match=r"Unpicklable: seven"):
        await run(kept, tasks.fail, "unpicklable")


async def test_value_that_cannot_be_carried_is_an_error_of_the_job(kept: Processes) -> None:
    with pytest.raises(Exception, match="pickle"):
        await run(kept, tasks.no_pickle)
    assert await run(kept, tasks.add, 1) == 11


async def test_argument_that_cannot_be_carried_is_an_error_of_the_job(kept: Processes) -> None:
    with pytest.raises(Exception, match="pickle"):
        await run(kept, tasks.add, lambda: 1)


class Explosive:
    """It can be pickled, and raises when it is read."""

    def __reduce__(self) -> Any:
        return open, ("/nowhere/at/all",)


async def test_argument_that_cannot_be_read_there_is_an_error_of_the_job(kept: Processes) -> None:
    pid = await run(kept, tasks.where)
    with pytest.raises(FileNotFoundError):
        await run(kept, tasks.add, Explosive())
    assert await run(kept, tasks.where) == pid


async def test_system_exit_ends_the_attempt_and_not_the_process(kept: Processes) -> None:
    pid = await run(kept, tasks.where)
    with pytest.raises(SystemExit):
        await run(kept, tasks.fail, "exit")
    assert await run(kept, tasks.where) == pid


@pytest.mark.parametrize(
    ("how", "says"), [("exit", "status 7"), ("SIGKILL", "killed by SIGKILL"), ("SIGSEGV", "killed by SIGSEGV")]
)
async def test_death_of_the_process_is_an_error_of_its_job_alone(kept: Processes, how: str, says: str) -> None:
    with pytest.raises(ProcessDied, match=f"the process of die ended by itself .{says}"):
        await run(kept, tasks.die, how)
    assert await run(kept, tasks.add, 1) == 11


async def test_process_that_died_while_it_was_idle_is_replaced(processes: Processes) -> None:
    pid = await run(processes, tasks.where)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
    assert await run(processes, tasks.where) != pid


async def test_cancelled_wait_kills_the_process(kept: Processes, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    running = asyncio.create_task(run(kept, tasks.hang, str(begun)))
    pid = await appears(begun)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await gone(pid)
    assert await run(kept, tasks.add, 1) == 11


async def test_process_whose_job_was_cancelled_during_the_start_is_kept_for_the_next(processes: Processes) -> None:
    before = set(multiprocessing.active_children())
    running = asyncio.create_task(run(processes, tasks.add, 1))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    child = await started(before)
    await until(lambda: processes._idle)  # pyright: ignore[reportPrivateUsage]
    assert await run(processes, tasks.where) == child.pid


async def test_process_that_is_being_started_at_the_close_ends_too() -> None:
    before, closed, started_one = set(multiprocessing.active_children()), threading.Event(), threading.Event()

    class Slow(Processes):
        def _start(self) -> Any:
            closed.wait(10)
            child = super()._start()
            started_one.set()
            return child

    processes = Slow()
    running = asyncio.create_task(run(processes, tasks.add, 1))
    await asyncio.sleep(0)
    running.cancel()
    processes.close()
    closed.set()
    await until(started_one.is_set)
    await until(lambda: set(multiprocessing.active_children()) <= before)


async def test_jobs_at_once_have_a_process_each(processes: Processes) -> None:
    pids = await asyncio.gather(*(run(processes, tasks.where) for _ in range(2)))
    assert len(set(pids)) == 2


async def test_process_ignores_the_signals_of_its_group(kept: Processes) -> None:
    assert await run(kept, tasks.survive_signals) == "still here"


async def test_what_a_process_task_starts_ends_by_the_signals_that_its_process_ignores(kept: Processes) -> None:
    assert await run(kept, tasks.end_children) == (-signal.SIGTERM, -signal.SIGTERM)


async def test_death_of_a_process_is_noticed_while_one_that_it_forked_lives(kept: Processes, tmp_path: Path) -> None:
    left = tmp_path / "left"
    with pytest.raises(ProcessDied, match="SIGKILL"):
        await run(kept, tasks.die_with_a_fork_left, str(left))
    os.kill(int(left.read_text()), signal.SIGKILL)


async def test_signals_during_the_start_of_a_process_do_not_end_it(processes: Processes) -> None:
    before = set(multiprocessing.active_children())
    running = asyncio.create_task(run(processes, tasks.add, 1))
    child = await started(before)
    assert child.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(child.pid, number)
    assert await running == 11


async def test_close_ends_every_process_whatever_it_does(tmp_path: Path) -> None:
    processes = Processes()
    begun = tmp_path / "begun"
    idle = await run(processes, tasks.where)
    hanging = asyncio.create_task(run(processes, tasks.hang, str(begun)))
    assert await appears(begun) == idle
    pids = [idle, await run(processes, tasks.where)]
    processes.close()
    processes.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    with pytest.raises(ProcessDied):
        await hanging
