"""A broker's file that is taken away under worker processes: they say so, end with an error, and start on another."""

import signal

import pytest

from tests.support.stage import Stage

pytestmark = pytest.mark.one_broker

FILES = ("broker.db", "broker.db-wal", "broker.db-shm")


async def test_a_worker_whose_file_is_deleted_ends_with_an_error_that_says_what_to_do(stage: Stage) -> None:
    worker = await stage.workers.start("--queue", "work")
    for name in FILES:
        (stage.folder / name).unlink()
    assert await worker.ended() == 3
    (gone,) = worker.events("BrokerGone")
    assert gone["level"] == "ERROR"
    assert "broker.db was deleted or moved while this program had it open" in gone["message"]
    (last,) = worker.stray_output()
    assert last.startswith("taskq: sqlite:///")
    assert last.endswith("Start the program again: it opens the file that is there then")


async def test_a_supervisor_starts_its_workers_again_on_the_file_that_is_there_now(stage: Stage) -> None:
    supervisor = stage.workers.launch("--queue", "work", "--processes", "2")
    await supervisor.consuming(workers=2)
    for name in FILES:
        (stage.folder / name).rename(stage.folder / f"moved-{name}")
    await supervisor.consuming(workers=4)
    supervisor.send(signal.SIGTERM)
    assert await supervisor.ended() == 0
    assert [event["status"] for event in supervisor.events("ChildExited")] == [3, 3, 0, 0]
