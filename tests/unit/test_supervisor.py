"""Worker processes under one parent: small real children, real signals."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from taskq.clock import SystemClock
from taskq.lifecycle import ChildExited, Emitter
from taskq.worker.supervisor import Supervisor, SupervisorOptions
from tests.support.waiting import until

# Each child writes its pid into a file of its own when it listens to signals.
START = """
import os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[1])
def ready():
    (folder / f"{os.getpid()}.new").write_text(str(os.getpid()))
    (folder / f"{os.getpid()}.new").rename(folder / f"{os.getpid()}.pid")
"""
WORKS = START + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); ready()\nwhile True: signal.pause()"
COUNTS_SIGNALS = (
    START
    + """
seen = []
def count(*_):
    seen.append(1)
    (folder / f"signals-{len(seen)}").touch()
    if len(seen) == 2: sys.exit(0)
signal.signal(signal.SIGTERM, count); ready()
while True: signal.pause()
"""
)
STARTS = START + "signal.signal(signal.SIGTERM, signal.default_int_handler); ready()\nwhile True: signal.pause()"
STUBBORN = START + "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready()\nwhile True: signal.pause()"
UNTIL_PARENT_DIES = START + "ready(); sys.stdin.buffer.read(); (folder / 'orphaned').touch()"


def exits(status: int) -> str:
    return START + f"ready(); os._exit({status})"


class Run:
    """A supervisor of ``processes`` children that run ``script``, and what it told."""

    def __init__(
        self, folder: Path, script: str, *, processes: int = 1, burst: bool = False, grace_s: float = 5
    ) -> None:
        self.folder = folder
        self.events: list[ChildExited] = []
        emitter = Emitter()
        emitter.on(ChildExited, self.events.append)
        command = [sys.executable, "-c", script, str(folder)]
        self.supervisor = Supervisor(
            SupervisorOptions(command=command, processes=processes, grace_s=grace_s, burst=burst),
            clock=SystemClock(),
            emitter=emitter,
            rng=Random(1),
        )

    def ready(self) -> set[int]:
        return {int(path.stem) for path in self.folder.glob("*.pid")}

    async def while_running(self, story: Callable[[], Awaitable[None]]) -> int:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            running = group.create_task(self.supervisor.run())
            await story()
        return running.result()


async def test_children_run_until_they_are_stopped_and_the_status_is_0(tmp_path: Path) -> None:
    run = Run(tmp_path, WORKS, processes=2)

    async def story() -> None:
        await until(lambda: len(run.ready()) == 2)
        run.supervisor.stop("SIGTERM")

    assert await run.while_running(story) == 0
    assert sorted((e.status, e.restart_in_s) for e in run.events) == [(0, None), (0, None)]
    assert {e.pid for e in run.events} == run.ready()


async def test_killed_child_is_started_again_after_a_pause(tmp_path: Path) -> None:
    run = Run(tmp_path, WORKS)

    async def story() -> None:
        await until(lambda: len(run.ready()) == 1)
        (first,) = run.ready()
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(run.ready()) == 2)
        run.supervisor.stop("SIGTERM")

    assert await run.while_running(story) == 0
    assert [(e.status, e.restart_in_s) for e in run.events] == [(-9, 0.2), (0, None)]


async def test_pauses_of_a_child_that_crashes_again_and_again_grow(tmp_path: Path) -> None:
    run = Run(tmp_path, exits(3))

    async def story() -> None:
        await until(lambda: len(run.events) == 3)
        run.supervisor.stop("SIGTERM")

    assert await run.while_running(story) == 0
    assert [e.restart_in_s for e in run.events[:3]] == [0.2, 0.4, 0.8]


async def test_child_that_ends_well_is_replaced_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path, exits(0))

    async def story() -> None:
        await until(lambda: len(run.events) >= 3)
        run.supervisor.stop("SIGTERM")

    assert await run.while_running(story) == 0
    assert [e.restart_in_s for e in run.events[:3]] == [0.0, 0.0, 0.0]


async def test_child_that_cannot_start_stops_everything_with_its_status(tmp_path: Path) -> None:
    script = START + (
        "if not list(folder.glob('*.pid')):\n    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); ready()\n"
        "    while True: signal.pause()\nelse: sys.exit(2)"
    )
    (tmp_path / "1.pid").touch()
    run = Run(tmp_path, script, processes=2)
    assert await run.while_running(lambda: asyncio.sleep(0)) == 2
    assert all(e.restart_in_s is None for e in run.events)


@pytest.mark.parametrize("status", [0, 1])
async def test_burst_ends_with_its_children_and_their_worst_status(tmp_path: Path, status: int) -> None:
    run = Run(tmp_path, exits(status), processes=2, burst=True)
    assert await run.while_running(lambda: asyncio.sleep(0)) == status
    assert len(run.events) == 2


async def test_second_stop_is_passed_on_and_cuts_the_grace_of_the_child(tmp_path: Path) -> None:
    run = Run(tmp_path, COUNTS_SIGNALS)

    async def story() -> None:
        await until(lambda: len(run.ready()) == 1)
        run.supervisor.stop("SIGTERM")
        await until((tmp_path / "signals-1").exists)
        run.supervisor.stop("SIGTERM")

    assert await run.while_running(story) == 0
    assert (tmp_path / "signals-2").exists()


async def test_child_that_does_not_end_is_killed_after_the_grace_and_a_margin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.worker.supervisor._KILL_MARGIN_S", 0.05)
    run = Run(tmp_path, STUBBORN, grace_s=0.05)

    async def story() -> None:
        await until(lambda: len(run.ready()) == 1)
        run.supervisor.stop("SIGTERM")

    assert await run.while_running(story) == 1
    assert [e.status for e in run.events] == [-9]


async def test_stop_before_a_child_listens_is_no_failure(tmp_path: Path) -> None:
    run = Run(tmp_path, WORKS)

    async def story() -> None:
        await until(lambda: bool(run.supervisor._children))  # pyright: ignore[reportPrivateUsage]
        run.supervisor.stop("SIGTERM")

    assert await run.while_running(story) == 0
    assert [e.status for e in run.events] in ([-15], [0])


async def test_stop_of_a_child_that_takes_it_for_a_ctrl_c_while_it_starts_is_no_failure(tmp_path: Path) -> None:
    run = Run(tmp_path, STARTS)

    async def story() -> None:
        await until(run.ready)
        run.supervisor.stop("SIGTERM")

    assert await run.while_running(story) == 0
    assert [e.status for e in run.events] == [-2]


async def test_children_are_out_of_reach_of_the_terminals_ctrl_c(tmp_path: Path) -> None:
    run = Run(tmp_path, WORKS)

    async def story() -> None:
        await until(lambda: len(run.ready()) == 1)
        (child,) = run.ready()
        assert os.getpgid(child) == child != os.getpgid(0)
        run.supervisor.stop("SIGTERM")

    assert await run.while_running(story) == 0


async def test_cancelled_supervisor_tells_its_children_to_stop(tmp_path: Path) -> None:
    run = Run(tmp_path, COUNTS_SIGNALS)
    running = asyncio.create_task(run.supervisor.run())
    await until(lambda: len(run.ready()) == 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until((tmp_path / "signals-1").exists)
    (child,) = run.supervisor._children  # pyright: ignore[reportPrivateUsage]
    child.kill()
    await child.wait()


async def test_child_reads_the_end_of_its_standard_input_when_the_parent_dies(tmp_path: Path) -> None:
    parent = (
        "import asyncio, random, sys\n"
        "from taskq.clock import SystemClock\n"
        "from taskq.lifecycle import Emitter\n"
        "from taskq.worker.supervisor import Supervisor, SupervisorOptions\n"
        "command = [sys.executable, '-c', sys.argv[1], sys.argv[2]]\n"
        "options = SupervisorOptions(command=command, processes=1, grace_s=5, burst=False)\n"
        "made = Supervisor(options, clock=SystemClock(), emitter=Emitter(), rng=random.Random(1))\n"
        "asyncio.run(made.run())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent, UNTIL_PARENT_DIES, str(tmp_path), cwd=Path.cwd()
    )
    run = Run(tmp_path, "")
    await until(lambda: len(run.ready()) == 1)
    process.kill()
    await process.wait()
    await until((tmp_path / "orphaned").exists)
