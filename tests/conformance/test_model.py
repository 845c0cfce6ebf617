"""Random programs over a broker, and a model that says what they may see; each program shrinks to its shortest.

Each broker gets a few programs here, the same each time; on RabbitMQ, where each look takes its time, one that fails
is told as it is. ``TASKQ_MODEL_SECONDS=300 python -m pytest tests/conformance/test_model.py`` lets each broker run new
programs for so long.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conformance.ground import Ground
from tests.conformance.model import ContractBroken
from tests.conformance.program import Program
from tests.conformance.stand import STANDS
from tests.simulation.planted import closing_gives_nothing_back, delays_are_forgotten, one_slot_too_many

STEPS = 40
EXPECTED = {"sqlite": 20, "memory": 30}
SOME = 3
PLANTED = [closing_gives_nothing_back, delays_are_forgotten, one_slot_too_many]


@pytest.fixture
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    with asyncio.Runner() as runner:
        stand = STANDS[request.param](tmp_path)
        keeper = runner.run(stand.open())  # a database in memory lives as long as somebody has it open
        assert keeper is not None
        yield Ground(stand, runner)
        with suppress(asyncio.CancelledError):
            runner.run(stand.close())


def _budget(broker: str) -> tuple[int, float]:
    """Return how many programs to run, or for how many seconds."""
    seconds = float(os.environ.get("TASKQ_MODEL_SECONDS", "0"))
    return EXPECTED.get(broker, SOME), seconds


@pytest.mark.timeout(0 if os.environ.get("TASKQ_MODEL_SECONDS") else 120)
@pytest.mark.parametrize(("ground", "broker"), [(name, name) for name in STANDS], indirect=["ground"], ids=list(STANDS))
def test_a_broker_does_what_the_model_of_its_contract_says(ground: Ground, broker: str) -> None:
    programs, seconds = _budget(broker)
    until = time.monotonic() + seconds

    while True:
        _run(ground, programs, derandomize=not seconds, shrink=bool(seconds) or ground.stand.embedded)
        if time.monotonic() >= until:
            return


@pytest.mark.parametrize("ground", ["memory"], indirect=True)
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_the_model_finds_a_planted_bug(
    ground: Ground, plant: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.conformance.program.PATIENCE_S", 0.5)
    with plant(), pytest.raises(ContractBroken):
        _run(ground, 30, derandomize=True, shrink=False)


def _run(ground: Ground, programs: int, *, derandomize: bool, shrink: bool) -> None:
    class Own(Program):
        pass

    Own.ground = ground
    run_state_machine_as_test(
        Own,
        settings=settings(
            max_examples=programs,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=derandomize,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
