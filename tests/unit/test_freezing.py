"""A frozen process stands when the call returns, on a busy machine too."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.freezing import freeze, freeze_group

BUSY = """
import mmap, sys, threading
with open(sys.argv[1], "r+b") as file:
    counts = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")

def count():
    while True: counts[0] += 1

threads = [threading.Thread(target=count) for _ in range(3)]
for thread in threads: thread.start()
print("runs", flush=True)
"""


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    """What the process counts in, as long as it runs."""
    path = tmp_path / "counter"
    path.write_bytes(bytes(8))
    return path


@pytest.fixture
def busy(counter: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of four threads, in a group of its own."""
    command = [sys.executable, "-c", BUSY, str(counter)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "runs\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("stop", [freeze, freeze_group])
def test_nothing_of_it_runs_once_it_is_frozen(
    busy: subprocess.Popen[str], counter: Path, stop: Callable[[int], None]
) -> None:
    seen = set[bytes]()
    for _ in range(20):
        stop(busy.pid)
        before = counter.read_bytes()
        os.sched_yield()
        assert counter.read_bytes() == before
        seen.add(before)
        busy.send_signal(signal.SIGCONT)
        busy_again(counter, before)
    assert len(seen) == 20


def busy_again(counter: Path, before: bytes) -> None:
    """Wait until the process counts on."""
    until = time.monotonic() + 20
    while counter.read_bytes() == before:
        assert time.monotonic() < until, "it does not go on"


def test_who_has_ended_cannot_be_frozen(busy: subprocess.Popen[str]) -> None:
    busy.kill()
    os.waitid(os.P_PID, busy.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(AssertionError, match="has ended"):
        freeze(busy.pid)
