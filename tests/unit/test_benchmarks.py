"""The pure parts of `benchmarks/`: medians, ratios and goals, the page's markers, the charts, what a program counts."""

import json
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import chart, console, goals, report, tables
from benchmarks.contender import Contender, Role, Store
from benchmarks.counts import Counts, counts, expected_total
from benchmarks.growth import Growth
from benchmarks.measurement import LOWER_IS_BETTER, MEASURES, STEPS, Bench
from benchmarks.programs import tally, wire
from benchmarks.programs.producing import Numbers, chunks
from benchmarks.results import Entrant, Results
from benchmarks.roster import ROSTER
from benchmarks.rounds import order, steps_for

PROGRAMS = Path(report.__file__).parent / "programs"


def entrant(name: str, role: Role = Role.PEER, store: Store = Store.RABBITMQ) -> Entrant:
    return Entrant(name, name.title(), store, role, "confirmed", "1.0")


def results(*rounds: dict[str, dict[str, float]]) -> Results:
    entrants = [
        entrant("taskq", Role.OURS),
        entrant("celery"),
        entrant("dramatiq"),
        entrant("limit", Role.LIMIT),
        entrant("saq", store=Store.REDIS),
    ]
    return Results({"CPU": "one"}, entrants, list(rounds))


ONE = {
    "taskq": {"enqueue": 300.0, "drain": 500.0, "p50": 2.0, "bulk": 400.0, "memory": 45.0},
    "celery": {"enqueue": 100.0, "drain": 100.0, "p50": 3.0},
    "dramatiq": {"enqueue": 50.0, "drain": 20.0, "p50": 1.0},
    "limit": {"enqueue": 900.0, "bulk": 1000.0, "p50": 1.0},
    "saq": {"enqueue": 5000.0, "p50": 0.1},
}


def verdict(found: Results, text: str) -> goals.Verdict:
    return next(each for each in goals.verdicts(found) if each.goal.text == text)


def test_a_figure_is_the_median_over_the_rounds_that_have_it() -> None:
    found = results({"taskq": {"drain": 1.0}}, {"taskq": {"drain": 9.0}}, {"taskq": {"drain": 3.0}}, {"celery": {}})
    assert found.median("taskq", "drain") == 3.0
    assert found.median("celery", "drain") is None


def test_the_best_peer_is_a_library_on_rabbitmq_and_lower_is_better_for_times() -> None:
    found = results(ONE)
    assert found.best_peer("enqueue") == ("celery", 100.0)
    assert found.best_peer("p50") == ("dramatiq", 1.0)
    assert found.best_peer("bulk", "enqueue") == ("celery", 100.0)
    assert found.best_peer("drain1") is None


def test_a_goal_is_met_at_its_bound_and_says_what_it_was_made_of() -> None:
    met = verdict(results(ONE), "confirmed enqueue, 1,000 in flight, to the best RabbitMQ library")
    assert (met.value, met.met, met.basis) == (3.0, True, "300 to 100 of celery")


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("drain, concurrency 1,000, to the best RabbitMQ library", False),
        ("`enqueue_many` to the bare limit", False),
        ("one call at a time, p50, to the bare limit", False),
        ("idle worker, PSS, MB", True),
        ("SQLite: drain, jobs/s", None),
    ],
)
def test_a_goal_is_met_missed_or_not_measured(text: str, met: bool | None) -> None:
    assert verdict(results(ONE), text).met is met


def depth(*samples: float) -> list[dict[str, float]]:
    points = [{"x": 50_000 * n, "enqueue": 1.0} for n in range(3)]
    return [*points, *({"x": 0, "executed": 50_000 * (n + 1), "pss_mb": pss} for n, pss in enumerate(samples))]


def test_memory_before_the_first_hundred_thousand_jobs_does_not_count() -> None:
    found = results(ONE)
    text = "memory over 1,000,000 jobs: furthest from its mean after 100,000"
    found.growth["depth"] = depth(20.0, 40.0, 40.0, 41.0)
    assert verdict(found, text).met is True
    found.growth["depth"] = depth(20.0, 40.0, 45.0, 50.0)
    assert verdict(found, text).met is False


def test_results_survive_the_disk(tmp_path: Path) -> None:
    found = results(ONE)
    found.failures["saq"] = {"drain": "failed: no"}
    found.growth["depth"] = depth(1.0)
    found.save(tmp_path / "new" / "results.json")
    assert Results.load(tmp_path / "new" / "results.json") == found


def test_sections_are_written_between_their_markers_and_the_rest_stays() -> None:
    page = "before\n<!-- bench: a -->\nold\n<!-- /bench: a -->\nafter\n"
    assert report.filled(page, {"a": r"new \1"}) == (
        "before\n<!-- bench: a -->\n\nnew \\1\n\n<!-- /bench: a -->\nafter\n"
    )
    assert report.filled(report.filled(page, {"a": "new"}), {"a": "new"}) == report.filled(page, {"a": "new"})


@pytest.mark.parametrize("page", ["", "<!-- bench: a -->", 2 * "<!-- bench: a --><!-- /bench: a -->"])
def test_a_section_without_its_one_place_is_refused(page: str) -> None:
    with pytest.raises(report.NoMarker, match="bench: a"):
        report.filled(page, {"a": "new"})


def test_the_page_has_a_place_for_each_section_and_shows_each_chart() -> None:
    found = results(ONE)
    page = report.filled(report.PAGE.read_text(), report.sections(found))
    assert set(re.findall(r"<!-- bench: (.*?) -->", page)) == set(report.sections(found))
    assert set(re.findall(r"performance/(.*?)\.svg", page)) == set(report.charts(found))


def test_a_failure_stands_in_the_table_and_with_its_reason() -> None:
    found = results(ONE)
    found.failures["celery"] = {"call": "failed: no way | out"}
    assert "| failed |" in tables.contenders(found, [Store.RABBITMQ])
    assert "no way \\| out" in tables.failures(found)
    assert "no way | out" in console.told(found)


def test_a_ratio_says_how_many_times_as_good_also_where_lower_is_better() -> None:
    rows = {row.split(" | ")[0].strip("| "): row.split(" | ") for row in tables.ratios(results(ONE)).splitlines()}
    assert rows["enqueue, jobs/s"][2:4] == ["100 (celery)", "3.00"]
    assert rows["one call, p50, ms"][2:4] == ["1 (dramatiq)", "0.50"]


@pytest.mark.parametrize(
    "drawn",
    [
        chart.bars("a < b", [("taskq & co", 2.0, "ours"), ("peer", 0.0, "peer")]),
        chart.bars("none", []),
        chart.lines("up", "x", {"one": [(1, 1), (10, 5), (10_000, 2)]}, log_x=True),
        chart.lines("one point", "x", {"one": [(5, 5)]}),
        chart.lines("zeros", "x", {"one": [(0, 0), (1, 0)]}),
        chart.lines("nothing", "x", {}),
    ],
)
def test_a_chart_is_a_small_file_for_light_and_dark(drawn: str) -> None:
    assert ET.fromstring(drawn).tag.endswith("svg")
    assert "prefers-color-scheme: dark" in drawn
    assert len(drawn) < 10_000


def test_the_highest_point_of_a_chart_is_inside_of_it() -> None:
    drawn = chart.lines("up", "x", {"one": [(0, 0), (1, 97.0)]})
    ((_, y),) = re.findall(r'cx="(740\.0)" cy="([\d.]+)"', drawn)
    assert 44 <= float(y) < 60


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0"), (12.34, "12.3"), (950, "950"), (1500, "1.5k"), (20_000, "20k"), (1_000_000, "1M")]
)
def test_numbers_on_an_axis_are_short(value: float, said: str) -> None:
    assert chart.short(value) == said


def test_a_round_has_every_contender_once_and_each_begins_otherwise() -> None:
    contenders = list(ROSTER)
    rounds = [order(contenders, turn) for turn in range(3)]
    assert all(sorted(each.name for each in found) == sorted(c.name for c in contenders) for found in rounds)
    assert len({found[0].name for found in rounds}) == 3


def test_every_measure_belongs_to_one_step_that_exists() -> None:
    assert sorted(measure for step in STEPS.values() for measure in step) == sorted(MEASURES)
    assert all(hasattr(Bench, step) for step in STEPS)
    assert set(MEASURES) >= LOWER_IS_BETTER
    assert steps_for(["p50"]) == ["calls"]
    assert steps_for([]) == list(STEPS)


def test_contenders_have_names_of_their_own_and_programs_that_exist() -> None:
    assert len({each.name for each in ROSTER}) == len(ROSTER)
    assert [each.name for each in ROSTER if not (PROGRAMS / f"{each.program}.py").exists()] == []
    assert [each.name for each in ROSTER if not each.lacks <= set(MEASURES)] == []
    assert [each.name for each in ROSTER if each.role is not Role.OURS and not each.requirements] == []


def test_a_workers_command_has_its_numbers() -> None:
    contender = Contender(
        name="x",
        title="X",
        store=Store.REDIS,
        role=Role.PEER,
        program="x",
        worker=("x", "-c", "{concurrency}", "-t={threads}"),
        guarantee="",
        threads=8,
        settings={"PREFETCH": "{concurrency}"},
    )
    assert contender.command(100) == ("x", "-c", "100", "-t=8")
    assert contender.command(1) == ("x", "-c", "1", "-t=1")
    assert contender.environment(100) == {"PREFETCH": "100"}


def test_numbers_end_with_their_limit_and_tell_when_each_part_was_reached() -> None:
    numbers = Numbers(seconds=60, limit=25, every=10)
    assert [len(chunk) for chunk in chunks(numbers, 10)] == [10, 10, 5]
    assert numbers.result()["jobs"] == 25
    assert len(numbers.marks) == 2


def test_numbers_end_with_their_time() -> None:
    assert list(Numbers(seconds=0, limit=25)) == []


def test_executions_are_counted_where_another_process_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_TALLY", str(tmp_path))
    monkeypatch.setenv("BENCH_SKIP", "2")
    monkeypatch.setattr(tally, "_slot", None)
    assert [tally.count(number, 1) for number in range(5)] == [1, 2, 3, 4, 5]
    (tmp_path / "unfinished").write_bytes(b"")
    (tmp_path / "another").write_bytes(tally.SLOT.pack(2, 13, 1, 1, 2, 3))
    found = counts(tmp_path)
    assert (found.executed, found.total, found.timed) == (7, expected_total(7), 4)
    assert (found.first_ns, found.from_ns) == (1, 2)
    assert str(os.getpid()) in {path.name for path in tmp_path.iterdir()}


def test_a_rate_is_that_of_what_is_timed() -> None:
    assert Counts(100, 0, timed=11, first_ns=1, from_ns=5_000_000_000, last_ns=7_000_000_000).rate == 5.0


def test_confirms_are_counted_once_in_whatever_order_they_come() -> None:
    client = wire.Wire()
    told = []
    for tag, multiple in [(2, False), (1, False), (5, False), (6, True), (7, False), (9, True)]:
        client._count_confirm(tag, multiple=multiple)
        told.append(client._confirmed)
    assert told == [1, 2, 3, 6, 7, 9]


def test_the_committed_results_are_those_that_the_page_shows() -> None:
    found = Results.load(report.FOLDER / "results.json")
    assert report.filled(report.PAGE.read_text(), report.sections(found)) == report.PAGE.read_text()
    assert json.loads((report.FOLDER / "results.json").read_text())["machine"]["command"]
    assert all((report.FOLDER / f"{name}.svg").read_text() == drawn for name, drawn in report.charts(found).items())


def test_growth_runs_its_own_program() -> None:
    assert (PROGRAMS / "taskq_growth.py").exists()
    ours = next(each for each in ROSTER if each.name == "taskq")
    assert "taskq_growth:app" in Growth(ours, None, None)._contender.worker  # type: ignore[arg-type]
