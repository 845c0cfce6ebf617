"""Which faults come when: the same seed gives the same, whatever the machine does."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.chaos.faults import clock, network, node, processes
from tests.chaos.plan import strokes

FAULTS = (*processes.FAULTS, *network.FAULTS, *node.FAULTS, *clock.FAULTS)
ROOT = Path(__file__).parents[2]
PROGRAM = "from tests.chaos.test_plan import drawn; print(drawn(7))"


def drawn(seed: int, number: int = 200) -> list[tuple[int, float, tuple[tuple[str, int], ...]]]:
    """What comes first, with the chances of each fault."""
    return [
        (stroke.number, stroke.pause_s, tuple((fault.name, chance) for fault, chance in stroke.faults))
        for stroke in islice(strokes(FAULTS, seed), number)
    ]


def test_the_same_seed_gives_the_same_faults_and_another_one_gives_others() -> None:
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


@pytest.mark.parametrize("hashes", ["1", "2"])
def test_a_plan_is_the_same_in_every_process(hashes: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hashes}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{drawn(7)}\n"


def test_each_fault_comes_once_and_alone_before_any_comes_again() -> None:
    first = drawn(3, len(FAULTS))
    assert all(len(faults) == 1 for _, _, faults in first)
    assert sorted(name for _, _, ((name, _),) in first) == sorted(fault.name for fault in FAULTS)


def test_faults_that_come_together_break_different_things() -> None:
    together = [stroke.faults for stroke in islice(strokes(FAULTS, 1), 2000) if len(stroke.faults) > 1]
    assert len(together) > 300
    for faults in together:
        broken = [what for fault, _ in faults for what in fault.breaks]
        assert len(broken) == len(set(broken))


def test_what_weighs_more_comes_more_often() -> None:
    names = [name for _, _, faults in drawn(1, 5000) for name, _ in faults]
    weights = {fault.name: fault.weight for fault in FAULTS}
    assert names.count("broker away for 30 s") < names.count("broker restart") < names.count("worker SIGKILL")
    assert weights["broker away for 30 s"] < weights["broker restart"] < weights["worker SIGKILL"]


def test_names_of_faults_are_unique() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(names) == len(set(names))
