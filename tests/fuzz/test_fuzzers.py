"""A few seconds of each fuzzer on every run, with seeds that stay; and what a fuzzer does with what it finds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random
from types import ModuleType
from typing import Any

import pytest

from taskq.broker.amqp.plane import properties, tables
from taskq.cli import letters
from taskq.observability import lines
from tests.fuzz import plane
from tests.fuzz.__main__ import FUZZERS, report
from tests.fuzz.engine import Case, Fuzzer, run, smaller_bytes

EXECUTIONS = {"wire": 1_500, "plane": 1_200}


@pytest.mark.parametrize("what", FUZZERS)
def test_nothing_is_found_among_the_first_inputs_of_a_seed(what: str) -> None:
    outcome = run(FUZZERS[what](), 20_261_125, executions=EXECUTIONS[what])
    assert outcome.finding is None, report(what, 20_261_125, outcome)
    assert outcome.executions == EXECUTIONS[what]


@pytest.mark.parametrize("what", FUZZERS)
def test_a_seed_and_a_number_always_make_the_same_input(what: str) -> None:
    one, other = FUZZERS[what](), FUZZERS[what]()
    for number in range(200):
        assert repr(one.draw(Random(f"7:{number}"))) == repr(other.draw(Random(f"7:{number}")))


def _shared(content: bytes, body: bytes, *, plain: Any = properties.decode_content) -> Any:
    """Read a content header, and give away what is remembered of it, so that who gets it changes it for the next."""
    return _SHARED.setdefault(content, plain(content, body))


_SHARED: dict[bytes, Any] = {}
BUGS = [
    pytest.param("plane", plane, "decode_content", _shared, id="what is remembered is shared"),
    pytest.param("plane", tables, "_DEEPEST", 10**6, id="tables of any depth are read"),
    pytest.param("wire", lines, "one_line", str, id="a line of a log is forged"),
    pytest.param("wire", letters, "one_line", str, id="a terminal is steered"),
]


@pytest.mark.parametrize(("what", "module", "name", "bug"), BUGS)
def test_a_bug_in_the_code_under_test_is_found(
    what: str, module: ModuleType, name: str, bug: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, bug)
    monkeypatch.setattr(FUZZERS[what], "smaller", lambda self, case: iter(()))
    assert run(FUZZERS[what](), 20_261_125, executions=3_000).finding is not None


class Planted(Fuzzer):
    """Bytes of which one makes the code under test fail, in the way of ``fault``."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def draw(self, rng: Random) -> Case:
        data = rng.randbytes(300)
        return Case("bytes", data, len(data))

    def check(self, case: Case) -> None:
        if b"\x07" not in case.data:
            return
        if self.fault == "raises":
            raise KeyError(case.data)
        if self.fault == "memory":
            bytearray(16 << 20)
        if self.fault == "time":
            began = time.process_time()
            while time.process_time() - began < 0.55:
                pass

    def smaller(self, case: Case) -> Iterator[Case]:
        if self.fault == "time":  # each step would take as long
            return
        for data in smaller_bytes(case.data):
            yield Case(case.kind, data, len(data))


@pytest.mark.parametrize(("fault", "says"), [("raises", "KeyError"), ("memory", "bytes of memory")])
def test_what_is_planted_is_found_made_small_and_can_be_run_again(fault: str, says: str) -> None:
    outcome = run(Planted(fault), 1, executions=5_000)
    assert outcome.finding is not None
    assert says in outcome.finding.error
    assert outcome.finding.smallest == "bytes b'\\x07'"
    again = run(Planted(fault), 1, executions=1, first=outcome.finding.number)
    assert again.finding is not None
    assert again.finding.error.split(":")[0] == outcome.finding.error.split(":")[0]
    assert f"--seed 1 --only {outcome.finding.number}" in report("wire", 1, outcome)


def test_an_input_that_takes_long_for_its_size_is_found() -> None:
    outcome = run(Planted("time"), 1, executions=50)
    assert outcome.finding is not None
    assert "of the processor" in outcome.finding.error
