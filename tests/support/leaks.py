"""Fixtures that make a test fail which leaves an asyncio task or a non-daemon thread behind.

They never cancel or end what they find: the test has to. The failure is reported at teardown, after the
test's own fixtures have closed what they own. `tests/conftest.py` puts them around every test.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

# What is ending when a test returns gets this much before it counts as leaked.
TURNS = 20
THREAD_GRACE_S = 1.0


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """Fail when a non-daemon thread outlives the test; such a thread would hold the exit of a program."""
    before = set(threading.enumerate())
    yield
    leaked = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    for thread in leaked:
        thread.join(THREAD_GRACE_S)
    names = sorted(thread.name for thread in leaked if thread.is_alive())
    if names:
        pytest.fail(f"the test leaked {len(names)} thread(s): {', '.join(names)}", pytrace=False)


@pytest.fixture(autouse=True)
def no_leaked_tasks(request: pytest.FixtureRequest, no_leaked_threads: None) -> None:
    """Watch the loop of an async test; a plain test gets no loop for it."""
    function = getattr(request, "function", None)
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    if inspect.iscoroutinefunction(inner):
        request.getfixturevalue("watched_loop")


@pytest.fixture
async def watched_loop() -> AsyncIterator[None]:
    """Fail when a task that began during the test is still there after it."""
    before = asyncio.all_tasks()
    yield
    for _ in range(TURNS):
        leaked = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not leaked:
            return
        await asyncio.sleep(0)
    names = sorted(repr(task.get_coro()) for task in leaked)
    pytest.fail(f"the test leaked {len(names)} task(s): {', '.join(names)}", pytrace=False)
