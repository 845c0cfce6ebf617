"""A selection of seeds, and that a seed is one history: byte for byte, in this process and in another one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.planted import BUGS, Planted
from tests.simulation.run import place, run_seed

ROOT = Path(__file__).parents[2]
PARTS, OF_EACH = 3, 50
WITHIN = 80
"""How many seeds a planted bug is given to show itself."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with place() as folder:
        yield folder


@pytest.mark.parametrize("part", range(PARTS))
def test_no_seed_loses_repeats_or_leaves_anything(folder: Path, part: int) -> None:
    seeds = range(1 + part * OF_EACH, 1 + (part + 1) * OF_EACH)
    results = [run_seed(seed, folder) for seed in seeds]
    assert {result.seed: result.wrong for result in results if result.wrong} == {}
    assert sum(result.jobs for result in results) > 3 * OF_EACH
    assert sum(sum(result.faults.values()) for result in results) > OF_EACH


def test_a_seed_is_one_history_byte_for_byte(folder: Path) -> None:
    for seed in (3, 17, 40):
        first, second = (run_seed(seed, folder, tell=True) for _ in range(2))
        assert first.trace == second.trace
        assert len(first.trace) > first.callbacks > 100
    assert run_seed(4, folder, tell=True).trace != first.trace


def test_another_process_replays_a_seed_byte_for_byte(folder: Path) -> None:
    ours = run_seed(17, folder, tell=True)
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "17", "--trace"]
    environment = {**os.environ, "PYTHONHASHSEED": "17"}
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == ["== seed 17", *"\n".join(ours.trace).splitlines()]


@pytest.mark.parametrize("bug", BUGS, ids=[bug.plant.__name__ for bug in BUGS])
def test_a_planted_bug_is_found(folder: Path, bug: Planted) -> None:
    seen: list[str] = []
    with bug.plant():
        for seed in range(1, WITHIN):
            seen += run_seed(seed, folder, only=bug.by).wrong
            if any(bug.found in each for each in seen):
                return
    pytest.fail(f"{WITHIN} seeds did not find it; they said: {seen}")
