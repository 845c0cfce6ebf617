"""The signals that stop a worker, and the processes that are forked from it meanwhile."""

import asyncio
import multiprocessing
import os
import signal
import time

from taskq.worker.stopsignals import stop_on_signals
from tests.support.waiting import until

SIGNALS = [signal.SIGTERM, signal.SIGINT]


def end_a_fork(number: int) -> int | None:
    """Fork, tell the child to end, and return how it did."""
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    assert child.pid is not None
    os.kill(child.pid, number)
    child.join(30)
    return child.exitcode


async def test_each_signal_stops_by_its_name_until_the_end_of_the_block() -> None:
    stopped: list[str] = []
    with stop_on_signals(stopped.append):
        for count, number in enumerate(SIGNALS, 1):
            os.kill(os.getpid(), number)
            await until(lambda count=count: len(stopped) == count)
    assert stopped == ["SIGTERM", "SIGINT"]


async def test_a_signal_to_a_process_that_a_thread_has_forked_ends_that_one_alone() -> None:
    stopped: list[str] = []
    with stop_on_signals(stopped.append):
        assert await asyncio.to_thread(end_a_fork, signal.SIGTERM) == -signal.SIGTERM
        os.kill(os.getpid(), signal.SIGINT)  # behind it, so that what the fork had sent would be here by now
        await until(lambda: stopped)
    assert stopped == ["SIGINT"]
