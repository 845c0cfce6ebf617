"""The watchdog shows what blocks the event loop, once for each block, from a thread."""

import asyncio
import threading
import time

from taskq.lifecycle import Emitter, LoopBlocked
from taskq.worker.watchdog import Watchdog
from tests.support.waiting import until

BLOCKED_S = 0.4  # above the loop's stamps, which are 0.25 s apart


def block_the_loop(until: threading.Event) -> None:
    until.wait(5)


async def test_block_is_told_while_it_lasts_with_the_stack_of_the_loop() -> None:
    emitter, told, events = Emitter(), threading.Event(), list[tuple[LoopBlocked, str]]()

    def listen(event: LoopBlocked) -> None:
        events.append((event, threading.current_thread().name))
        told.set()

    emitter.on(LoopBlocked, listen)
    with Watchdog(emitter, blocked_s=BLOCKED_S):
        block_the_loop(told)
        assert told.is_set()
        time.sleep(0.5)  # the same block, for two more looks
    ((event, thread),) = events
    assert event.seconds > BLOCKED_S
    assert "block_the_loop" in event.stack
    assert thread == "taskq-watchdog"


async def test_every_block_is_told_anew() -> None:
    emitter, told, events = Emitter(), threading.Event(), list[LoopBlocked]()
    emitter.on(LoopBlocked, events.append)
    emitter.on(LoopBlocked, lambda _: told.set())
    with Watchdog(emitter, blocked_s=BLOCKED_S):
        for number in (1, 2):
            told.clear()
            block_the_loop(told)
            assert len(events) == number
            await asyncio.sleep(0.3)  # the loop stamps again


async def test_coroutine_listener_runs_on_the_loop_when_it_is_free_again() -> None:
    emitter, told, threads = Emitter(), threading.Event(), list[str]()

    async def listen(event: LoopBlocked) -> None:
        threads.append(threading.current_thread().name)

    emitter.on(LoopBlocked, listen)
    emitter.on(LoopBlocked, lambda _: told.set())
    with Watchdog(emitter, blocked_s=BLOCKED_S):
        block_the_loop(told)
        await asyncio.sleep(0)
        await emitter.drain()
    assert threads == [threading.current_thread().name]


async def test_loop_that_is_busy_but_not_blocked_is_left_alone() -> None:
    emitter, events = Emitter(), list[LoopBlocked]()
    emitter.on(LoopBlocked, events.append)
    ends = time.monotonic() + 0.6
    with Watchdog(emitter, blocked_s=0.5):
        await until(lambda: time.monotonic() > ends)
    assert events == []


async def test_watchdog_leaves_no_thread_and_no_timer() -> None:
    with Watchdog(Emitter()):
        assert any(thread.name == "taskq-watchdog" for thread in threading.enumerate())
    assert not any(thread.name == "taskq-watchdog" for thread in threading.enumerate())
