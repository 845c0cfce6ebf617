"""The leak fixtures find what they are there for, and leave a clean test alone."""

import pytest

CONFTEST = "from tests.support.leaks import no_leaked_tasks, no_leaked_threads, watched_loop"


def run(pytester: pytest.Pytester, test: str) -> pytest.RunResult:
    """Run one test file under the fixtures, as the suite does."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(f"import asyncio, threading, time\n{test}")
    return pytester.runpytest_inprocess(
        "--asyncio-mode=auto", "-o", "asyncio_default_fixture_loop_scope=function", "-p", "no:cacheprovider"
    )


def test_leaked_task_is_an_error_that_names_the_coroutine(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
kept = []

async def forgotten():
    await asyncio.Event().wait()

async def test_leaks():
    kept.append(asyncio.create_task(forgotten()))
""",
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*leaked 1 task(s)*forgotten*"])


def test_leaked_thread_is_an_error_that_names_the_thread(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import pytest

@pytest.fixture(scope="session")
def release():
    event = threading.Event()
    yield event
    event.set()

def test_leaks(release):
    threading.Thread(target=release.wait, name="forgotten", daemon=False).start()
""",
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*leaked 1 thread(s): forgotten*"])


def test_what_a_fixture_of_the_test_closes_is_no_leak(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
import pytest

@pytest.fixture
async def service():
    task = asyncio.create_task(asyncio.Event().wait())
    yield
    task.cancel()

async def test_clean(service):
    await asyncio.to_thread(int)
    task = asyncio.create_task(asyncio.sleep(0))

def test_plain():
    threading.Thread(target=int).start()
""",
    )
    result.assert_outcomes(passed=2)
