"""Each promise has tests that notice when it is broken: every mutant of the code is killed by one of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.promises.mutant import Mutant, run_tests, survives
from tests.promises.page import PAGE, page
from tests.promises.table import PROMISES
from tests.support import rabbit
from tests.support.workers import ROOT

MUTANTS = {f"{promise.title}: {mutant.breaks}": mutant for promise in PROMISES for mutant in promise.mutants}
TESTS = sorted({each for mutant in MUTANTS.values() for each in mutant.tests})
WITH_BROKER = [each for each in TESTS if not each.startswith("tests/unit/")]


@pytest.fixture
def given_broker() -> Iterator[dict[str, str]]:
    """What tells the tests in the copy to use the broker that runs already, in a virtual host of their own."""
    shared = rabbit.shared(rabbit.versions()[0])
    url = shared.new_vhost()
    yield {"TASKQ_TEST_AMQP_URL": url}
    shared.drop_vhost(url)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS.keys())
def test_a_broken_promise_is_noticed(mutant: Mutant, given_broker: dict[str, str]) -> None:
    said = survives(mutant, given_broker)
    assert said is None, f"all of {mutant.tests} pass although {mutant.breaks}:\n{said}"


@pytest.mark.parametrize("test", WITH_BROKER)
def test_unbroken_it_passes(test: str, given_broker: dict[str, str]) -> None:
    done = run_tests(ROOT, (test,), given_broker)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@pytest.mark.timeout(240)
def test_unbroken_those_without_a_broker_pass() -> None:
    done = run_tests(ROOT, tuple(set(TESTS) - set(WITH_BROKER)), {})
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS.keys())
def test_the_tests_that_notice_it_are_there(mutant: Mutant) -> None:
    for each in mutant.tests:
        path, _, name = each.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text(), f"there is no {each}"


def test_every_promise_that_can_be_broken_has_a_mutant() -> None:
    assert [promise.title for promise in PROMISES if not promise.mutants] == ["No order"]


def test_the_page_shows_the_table() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.promises --page"


def test_a_mutant_that_changes_nothing_survives() -> None:
    harmless = Mutant(
        breaks="nothing",
        file="taskq/clock.py",
        old="The clock of the machine.",
        new="The clock of this machine.",
        tests=("tests/unit/test_slots.py",),
    )
    assert survives(harmless, {}) is not None
