"""Files that cannot be opened: each gives a clear error, and is left as it was."""

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq.broker.sqlite import SqliteBroker
from taskq.broker.sqlite.database import APPLICATION_ID, SCHEMA_VERSION
from taskq.clock import SystemClock
from taskq.errors import AccessRefused, BrokerError, BrokerUnreachable
from taskq.tasks.queues import Queue

NOBODY = 65534


async def error_of_opening(path: Path, **options: float) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock(), **options):  # type: ignore[arg-type]
            pass
    assert str(path) in str(caught.value)
    return caught.value


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    error = await error_of_opening(tmp_path / "missing" / "taskq.db")
    assert isinstance(error, BrokerUnreachable)
    assert "does not exist; make it" in str(error)
    assert list(tmp_path.iterdir()) == []


async def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    error = await error_of_opening(tmp_path / ("long" * 100))
    assert isinstance(error, BrokerUnreachable)
    assert "File name too long; choose another place" in str(error)


async def test_a_folder_instead_of_a_file_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in str(await error_of_opening(tmp_path))


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "taskq.db"
    path.write_bytes(b"my diary\n" * 1_000)
    error = await error_of_opening(path)
    assert isinstance(error, BrokerUnreachable)
    assert path.read_bytes() == b"my diary\n" * 1_000


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
async def test_a_database_of_another_application_is_left_alone(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "taskq.db"
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA journal_mode = {mode}")
        db.execute("CREATE TABLE diary (entry TEXT)")
    db.close()
    before = path.read_bytes()
    assert "another application" in str(await error_of_opening(path))
    assert path.read_bytes() == before


async def test_a_file_of_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "taskq.db"
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        db.execute("CREATE TABLE something_new (entry TEXT)")
    db.close()
    before = path.read_bytes()
    error = await error_of_opening(path)
    assert isinstance(error, BrokerUnreachable)
    assert "upgrade taskq" in str(error)
    assert path.read_bytes() == before


async def test_an_empty_file_becomes_ours(tmp_path: Path) -> None:
    path = tmp_path / "taskq.db"
    path.touch()
    async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock()) as broker:
        await broker.declare([Queue("work")])


async def test_a_new_file_that_somebody_has_locked_is_unreachable_within_the_timeout(tmp_path: Path) -> None:
    path = tmp_path / "taskq.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    error = await error_of_opening(path, connect_timeout_s=0.2)
    db.close()
    assert isinstance(error, BrokerUnreachable)
    assert "locked by another program" in str(error)


async def test_many_brokers_may_make_the_file_at_once(tmp_path: Path) -> None:
    async def use(number: int) -> None:
        async with SqliteBroker(f"sqlite:///{tmp_path / f'{number}.db'}", clock=SystemClock()) as broker:
            await broker.declare([Queue("work")])

    for number in range(10):
        await asyncio.gather(*[use(number) for _ in range(8)])


@pytest.fixture
def open_to_others() -> Iterator[Path]:
    """A folder that another user can reach; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def refusal_without_privileges(path: Path) -> str:
    """Open the file in a child that permissions apply to (those of root do not), and return how that is refused."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        os.write(writing, asyncio.run(_refusal(path)).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        text = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return text


async def _refusal(path: Path) -> str:
    try:
        async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock()):
            return "not refused"
    except AccessRefused as error:
        return str(error)
    except BaseException as error:
        return repr(error)


def test_a_folder_that_may_not_be_written_is_access_refused(open_to_others: Path) -> None:
    open_to_others.chmod(0o555)
    refusal = refusal_without_privileges(open_to_others / "taskq.db")
    open_to_others.chmod(0o755)
    assert "the folder may not be written; give this user the right" in refusal


def test_a_folder_that_may_not_be_entered_is_access_refused(open_to_others: Path) -> None:
    inner = open_to_others / "closed" / "inner"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o700)
    assert "may not be entered; give this user the right" in refusal_without_privileges(inner / "taskq.db")


def test_a_file_that_may_not_be_written_is_access_refused(open_to_others: Path) -> None:
    path = open_to_others / "taskq.db"

    async def make() -> None:
        async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock()):
            pass

    asyncio.run(make())
    path.chmod(0o444)
    open_to_others.chmod(0o777)
    assert "the file may not be written; give this user the right" in refusal_without_privileges(path)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
async def test_a_new_file_and_what_sqlite_puts_beside_it_are_for_their_owner_alone(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "taskq.db"
    before = os.umask(umask)
    try:
        async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock()) as broker:
            await broker.declare([Queue("work")])
            modes = {each.name: oct(each.stat().st_mode & 0o777) for each in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("taskq.db", "taskq.db-wal", "taskq.db-shm"), "0o600")


async def test_a_file_that_was_made_for_several_users_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "taskq.db"
    path.touch()
    path.chmod(0o660)
    async with SqliteBroker(f"sqlite:///{path}", clock=SystemClock()) as broker:
        await broker.declare([Queue("work")])
        assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o660}
