"""The page's tables are those of the outcomes beside it, and say what those say."""

from pathlib import Path

import pytest

from tests.chaos import __main__ as command
from tests.chaos import report
from tests.chaos.outcome import Outcome, Tried

PAGE = "a <!-- chaos: runs -->old<!-- /chaos: runs --> b <!-- chaos: faults --><!-- /chaos: faults --> c"


def tried(name: str, recovered_s: float | None, *, bound_s: float | None = 1.0) -> Tried:
    return Tried(name=name, stroke=0, at=0.0, lasted_s=0.1, recovered_s=recovered_s, bound_s=bound_s)


def outcome(*faults: Tried, lost: int = 0, violations: tuple[str, ...] = ()) -> Outcome:
    return Outcome(
        site="RabbitMQ 3.10.8",
        seed=1,
        seconds=120.0,
        confirmed=1234,
        executions=1300,
        dead=5,
        answered=7,
        unanswered=1,
        refused=2,
        lost=lost,
        duplicates=3,
        duplicates_by={"reset": 3},
        tried=faults,
        violations=violations,
        leftovers=(),
        command="python -m tests.chaos --seed 1",
    )


def test_a_row_gives_how_often_a_fault_was_tried_and_how_long_it_took_when_it_was_alone() -> None:
    took = [tried("reset", number / 100) for number in range(1, 101)]
    table = report.faults([outcome(*took, tried("reset", None), tried("alarm", 2.0, bound_s=None))])
    assert "| reset | 101 | 0 | 3 | 0.51 | 0.95 | 1 |" in table
    assert "| alarm | 1 | 0 | 0 | 2.00 | 2.00 | – |" in table
    assert "| all | 102 | 0 | 3 |  |  |  |" in table


def test_the_rows_of_several_runs_on_one_broker_are_one_table() -> None:
    table = report.faults([outcome(tried("reset", 0.2)), outcome(tried("reset", None), lost=2)])
    assert table.count("RabbitMQ 3.10.8") == 1
    assert "| reset | 2 | 2 | 6 | 0.20 | 0.20 | 1 |" in table


def test_only_what_stands_between_the_markers_is_written() -> None:
    page = report.filled(PAGE, [outcome(tried("reset", 0.2))])
    assert "old" not in page
    assert page.startswith("a <!-- chaos: runs -->")
    assert page.endswith(" c")
    assert "| RabbitMQ 3.10.8 | 1 | 2 | 1,234 | 1,300 | 5 | 0 | 3 | `python -m tests.chaos --seed 1` |" in page
    assert report.filled(page, [outcome(tried("reset", 0.2))]) == page


def test_an_outcome_reads_back_as_it_was_saved(tmp_path: Path) -> None:
    saved = outcome(tried("reset", 0.2), tried("alarm", None, bound_s=None), violations=("lost: a",))
    saved.save(tmp_path / "one.json")
    assert Outcome.load(tmp_path / "one.json") == saved


def test_what_took_too_long_and_what_was_broken_is_no_good() -> None:
    assert outcome(tried("reset", 0.9)).good
    assert not outcome(tried("reset", 1.1)).good
    assert not outcome(violations=("lost: a",)).good
    assert "SLOW: reset: 1.10 s of 1" in command.told(outcome(tried("reset", 1.1)))
    assert "BROKEN: lost: a" in command.told(outcome(violations=("lost: a",)))


def test_the_committed_outcomes_are_those_that_the_page_shows() -> None:
    found = report.committed()
    assert found
    assert report.filled(report.PAGE.read_text(), found) == report.PAGE.read_text()
    assert sum(each.lost for each in found) == 0
    assert [each.violations for each in found if each.violations] == []


def test_a_run_that_fails_says_with_what_it_is_repeated_and_keeps_its_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["chaos", "--broker", "sqlite", "--seconds", "3", "--seed", "9"])
    monkeypatch.setattr(command, "site_of", lambda broker, folder: 1 / 0)
    assert command.main() == 1
    printed = capsys.readouterr()
    assert "to repeat it: python -m tests.chaos --broker sqlite --seconds 3 --seed 9" in printed.out
    folder = Path(printed.out.rpartition("ledgers and logs: ")[2].strip())
    assert folder.is_dir()
    folder.rmdir()
    assert "ZeroDivisionError" in printed.err
