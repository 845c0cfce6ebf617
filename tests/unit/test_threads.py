"""Sync functions in threads of their own."""

import asyncio
import threading
from contextvars import ContextVar

import pytest

from taskq.worker.threads import start_thread

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


async def test_value_and_error_come_back() -> None:
    def fails() -> None:
        raise LookupError("no row")

    assert await start_thread(lambda: 42, "answer") == 42
    with pytest.raises(LookupError, match="no row"):
        await start_thread(fails, "fails")


async def test_thread_is_a_daemon_that_is_named_after_its_task() -> None:
    def look() -> tuple[str, bool]:
        return threading.current_thread().name, threading.current_thread().daemon

    name, daemon = await start_thread(look, "images.resize")
    assert name.startswith("taskq-")
    assert name.endswith("-images.resize")
    assert daemon


async def test_thread_has_a_copy_of_the_context_variables() -> None:
    tenant.set("acme")

    def look_and_change() -> str:
        seen = tenant.get()
        tenant.set("changed")
        return seen

    assert await start_thread(look_and_change, "look") == "acme"
    assert tenant.get() == "acme"


async def test_stop_iteration_does_not_stop_the_future() -> None:
    def stops() -> None:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await start_thread(stops, "stops")


async def test_error_of_a_thread_that_nobody_waits_for_is_no_complaint_of_asyncio() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    release = threading.Event()

    def late() -> None:
        release.wait()
        raise LookupError

    future = start_thread(late, "late")
    waiting = asyncio.create_task(asyncio.wait_for(asyncio.shield(future), 0.001))
    with pytest.raises(TimeoutError):
        await waiting
    release.set()
    await asyncio.wait([future])
    del future, waiting
    assert complaints == []


def test_thread_that_outlives_the_loop_ends_in_silence() -> None:
    release, ended = threading.Event(), threading.Event()

    def work() -> None:
        try:
            release.wait()
        finally:
            ended.set()

    async def start() -> threading.Thread:
        start_thread(work, "outlives")
        return next(t for t in threading.enumerate() if t.name.endswith("-outlives"))

    thread = asyncio.run(start())
    release.set()
    assert ended.wait(5)
    thread.join(5)
    assert not thread.is_alive()


async def test_threads_run_beside_each_other() -> None:
    together = threading.Barrier(20, timeout=5)
    await asyncio.gather(*(start_thread(together.wait, "wait") for _ in range(20)))
