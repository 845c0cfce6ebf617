"""Faults of a file: a short run of some, and that a process can really be stopped inside a commit."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tests.chaos.__main__ import told
from tests.chaos.commits import stop_between_commits, stop_in_commit
from tests.chaos.run import Run
from tests.chaos.shape import Shape
from tests.chaos.sites.sqlite import SqliteSite

_TRIED = {
    "worker SIGKILL inside a commit",
    "file locked by another program",
    "disk full",  # where this is root, who may mount one
    "all SIGKILL, a torn log",
    "all SIGKILL, a damaged file",
}
_WRITES = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE number (value INTEGER)")
print("made", flush=True)
while True:
    database.execute("BEGIN IMMEDIATE")
    database.executemany("INSERT INTO number VALUES (?)", [(value,) for value in range(1000)])
    database.execute("COMMIT")
"""


@pytest.mark.parametrize("seed", range(5))
def test_a_process_is_killed_in_the_middle_of_writing_a_commit(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "numbers.db"
    writer = subprocess.Popen([sys.executable, "-c", _WRITES, str(path)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        call = stop_in_commit(writer.pid, path, Random(seed))
        assert call in ("pwrite", "fdatasync", "fsync", "ftruncate")
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    finally:
        writer.kill()
        writer.communicate()
    with closing(sqlite3.connect(path)) as after:
        (number,) = after.execute("SELECT count(*) FROM number").fetchone()
        assert number % 1000 == 0
        assert after.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_process_that_is_stopped_between_commits_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "numbers.db"
    writer = subprocess.Popen([sys.executable, "-c", _WRITES, str(path)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        stop_between_commits(writer.pid, path, Random(1))
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
        writer.send_signal(signal.SIGCONT)
    finally:
        writer.kill()
        writer.communicate()


async def test_faults_of_a_file_lose_nothing(tmp_path: Path) -> None:
    async with SqliteSite(tmp_path) as site:
        site.faults = tuple(fault for fault in site.faults if fault.name in _TRIED)
        run = Run(site, tmp_path, seed=1, shape=Shape(workers=4, rate=30.0))
        outcome = await run.carry_out(seconds=60.0, most=len(site.faults))
    assert (outcome.violations, outcome.leftovers, outcome.lost) == ((), (), 0), told(outcome)
    assert {each.name for each in outcome.tried} == {fault.name for fault in site.faults}
    assert outcome.confirmed > 50
