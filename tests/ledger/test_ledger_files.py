"""Ledgers as files: what was written before a SIGKILL is read back, and a torn end is told apart."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq import Snooze
from tests.support.ledger import (
    Answered,
    BrokenLedger,
    Confirmed,
    Ended,
    Expired,
    Fault,
    Outcome,
    Pen,
    Record,
    Started,
    Wanted,
    read_history,
)
from tests.support.ledger.records import from_line, to_line

jobs = st.text(min_size=1, max_size=40)
times = st.floats(min_value=0, max_value=1e11, allow_nan=False)
numbers = st.integers(min_value=1, max_value=10**6)
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(Wanted, job=jobs, at=times, attempts=numbers, not_before=st.none() | times),
    st.builds(Confirmed, job=jobs, at=times),
    st.builds(Started, job=jobs, at=times, pid=numbers, attempt=numbers, execution=numbers),
    st.builds(
        Ended,
        job=jobs,
        at=times,
        pid=numbers,
        attempt=numbers,
        execution=numbers,
        outcome=st.sampled_from(Outcome),
    ),
    st.builds(Expired, job=jobs, at=times),
    st.builds(Answered, job=jobs, at=times, of=jobs),
    st.builds(Fault, what=jobs, at=times, until=times, pid=st.none() | numbers),
)


@given(records)
def test_a_record_is_one_line_that_reads_back_as_itself(record: Record) -> None:
    line = to_line(record)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert from_line(line) == record


@given(st.lists(records, min_size=1, max_size=5), st.data())
def test_wherever_a_ledger_is_torn_the_whole_lines_before_are_read(
    tmp_path_factory: pytest.TempPathFactory, written: list[Record], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("ledgers")
    content = b"".join(map(to_line, written))
    cut = data.draw(st.integers(0, len(content)))
    (folder / "1-1.ledger").write_bytes(content[:cut])
    history = read_history(folder)
    assert history.records == tuple(written[: content[:cut].count(b"\n")])
    assert history.torn == (() if cut == 0 or content[cut - 1 : cut] == b"\n" else ("1-1.ledger",))


@pytest.mark.parametrize("broken", [b'{"record":"Confirmed","jo\n', b'{"record":"Whatever"}\n', b"[1]\n", b"{}\n"])
def test_a_broken_line_that_is_not_the_last_is_an_error(tmp_path: Path, broken: bytes) -> None:
    good = to_line(Confirmed(job="a", at=1))
    (tmp_path / "1-1.ledger").write_bytes(broken + good)
    with pytest.raises(BrokenLedger, match=r"1-1\.ledger"):
        read_history(tmp_path)


def test_each_process_and_each_pen_writes_a_file_of_its_own(tmp_path: Path) -> None:
    pens = [Pen(tmp_path), Pen(tmp_path)]
    for number, pen in enumerate(pens):
        pen.confirmed(str(number))
        pen.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert {record.job for record in read_history(tmp_path).of(Confirmed)} == {"0", "1"}


def test_an_execution_says_how_it_ended(tmp_path: Path) -> None:
    pen = Pen(tmp_path)
    for job, error in {"good": None, "bad": ValueError(), "cut": asyncio.CancelledError(), "late": Snooze(1)}.items():
        try:
            with pen.execution(job, attempt=2, execution=3):
                if error is not None:
                    raise error
        except BaseException as raised:
            assert raised is error  # noqa: PT017  # four kinds of it, one of them none
    pen.close()
    history = read_history(tmp_path)
    assert {start.job for start in history.of(Started)} == {"good", "bad", "cut", "late"}
    assert {end.job: end.outcome for end in history.of(Ended)} == {
        "good": Outcome.RETURNED,
        "bad": Outcome.FAILED,
        "cut": Outcome.CUT,
        "late": Outcome.SNOOZED,
    }
    assert {(end.attempt, end.execution) for end in history.of(Ended)} == {(2, 3)}


def test_what_was_written_survives_a_sigkill(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from tests.support.ledger import Pen\n"
        "pen = Pen(Path(sys.argv[1]))\n"
        "for n in range(500): pen.confirmed(str(n))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=root, check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    history = read_history(tmp_path)
    assert [record.job for record in history.of(Confirmed)] == [str(n) for n in range(500)]
    assert history.torn == ()
