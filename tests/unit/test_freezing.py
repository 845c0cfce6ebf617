"""A frozen process stands when the call returns, on a busy machine too."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.support.freezing import freeze, freeze_group, of_threads

BUSY = """
import threading

def count():
    while True: pass

threads = [threading.Thread(target=count) for _ in range(3)]
for thread in threads: thread.start()
print("runs", flush=True)
"""


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[str]]:
    """A process of four threads, in a group of its own."""
    command = [sys.executable, "-c", BUSY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "runs\n"
            yield process
        finally:
            process.kill()


def ticks(pid: int) -> list[int]:
    """Return the processor time that each thread has used, in nanoseconds."""
    return [int(said.split()[0]) for said in of_threads(pid, "schedstat")]


@pytest.mark.parametrize("stop", [freeze, freeze_group])
def test_nothing_of_it_runs_once_it_is_frozen(busy: subprocess.Popen[str], stop: Callable[[int], None]) -> None:
    for _ in range(20):
        stop(busy.pid)
        before = ticks(busy.pid)
        assert len(before) == 4
        os.sched_yield()
        assert ticks(busy.pid) == before
        busy.send_signal(signal.SIGCONT)


def test_who_has_ended_cannot_be_frozen(busy: subprocess.Popen[str]) -> None:
    busy.kill()
    os.waitid(os.P_PID, busy.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(AssertionError, match="has ended"):
        freeze(busy.pid)
