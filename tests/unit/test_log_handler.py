"""Usual lines are written once for each turn of the event loop; any other at once, and all of them in order."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Iterator

import pytest

from taskq.observability.handler import LineHandler


class Writes(io.StringIO):
    """A stream that keeps each write by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.each: list[str] = []
        self.broken = False

    def write(self, text: str) -> int:
        if self.broken:
            raise OSError("no space left on device")
        self.each.append(text)
        return len(text)


@pytest.fixture
def stream() -> Writes:
    return Writes()


@pytest.fixture
def log(stream: Writes) -> Iterator[logging.Logger]:
    logger = logging.Logger("of this test")
    handler = LineHandler(stream)
    logger.addHandler(handler)
    yield logger
    handler.close()


def usual(log: logging.Logger, text: str) -> None:
    log.info(text, extra={"taskq": {"event": "JobSucceeded"}})


async def test_usual_lines_of_one_turn_are_one_write(log: logging.Logger, stream: Writes) -> None:
    usual(log, "one")
    usual(log, "two")
    assert stream.each == []
    await asyncio.sleep(0)
    assert stream.each == ["one\ntwo\n"]
    usual(log, "three")
    await asyncio.sleep(0)
    assert stream.each == ["one\ntwo\n", "three\n"]


@pytest.mark.parametrize("event", ["JobDead", "JobRetried", "WorkerStarted"])
async def test_an_unusual_line_is_written_at_once_with_what_waits_before_it(
    log: logging.Logger, stream: Writes, event: str
) -> None:
    usual(log, "one")
    log.info("unusual", extra={"taskq": {"event": event}})
    assert stream.each == ["one\nunusual\n"]
    await asyncio.sleep(0)
    assert stream.each == ["one\nunusual\n"]


async def test_a_line_of_the_tasks_own_is_written_at_once_and_in_order(log: logging.Logger, stream: Writes) -> None:
    usual(log, "one")
    log.info("from a task")
    usual(log, "two")
    assert stream.each == ["one\nfrom a task\n"]
    await asyncio.sleep(0)
    assert "".join(stream.each) == "one\nfrom a task\ntwo\n"


def test_without_an_event_loop_each_line_is_written_at_once(log: logging.Logger, stream: Writes) -> None:
    usual(log, "one")
    assert stream.each == ["one\n"]


async def test_a_thread_writes_what_waits_and_its_own(log: logging.Logger, stream: Writes) -> None:
    usual(log, "one")
    thread = threading.Thread(target=usual, args=(log, "from a thread"))
    thread.start()
    thread.join()
    assert stream.each == ["one\nfrom a thread\n"]


def test_what_waits_when_the_loop_ends_is_written_when_logging_ends(log: logging.Logger, stream: Writes) -> None:
    async def last() -> None:
        usual(log, "the last")

    loop = asyncio.new_event_loop()
    loop.run_until_complete(last())
    loop.close()
    log.handlers[0].flush()
    assert "".join(stream.each) == "the last\n"


async def test_a_stream_that_takes_nothing_harms_nobody(
    log: logging.Logger, stream: Writes, capsys: pytest.CaptureFixture[str]
) -> None:
    stream.broken = True
    usual(log, "one")
    await asyncio.sleep(0)
    log.warning("two")
    assert "no space left on device" in capsys.readouterr().err
    stream.broken = False
    log.warning("three")
    assert stream.each == ["three\n"]
