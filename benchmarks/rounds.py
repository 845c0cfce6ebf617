"""Rounds: every contender once in each, one after another; the order is turned, since a machine's speed drifts."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from benchmarks.console import number
from benchmarks.contender import Contender
from benchmarks.measurement import STEPS, Bench, Scale
from benchmarks.processes import Failed
from benchmarks.results import Results
from benchmarks.server import NoServer
from benchmarks.servers import Servers
from benchmarks.venvs import NotInstalled


def order(contenders: list[Contender], turn: int) -> list[Contender]:
    """Return the order of a round: each begins with another one, and every second goes backwards."""
    start = turn * 5 % max(len(contenders), 1)
    turned = contenders[start:] + contenders[:start]
    return turned[::-1] if turn % 2 else turned


def steps_for(measures: Iterable[str]) -> list[str]:
    """Return the steps that have any of the measures; without measures, all."""
    wanted = set(measures)
    return [step for step, found in STEPS.items() if not wanted or wanted.intersection(found)]


_EXPECTED = (Failed, NotInstalled, NoServer)


class Rounds:
    """The rounds of one run; what they find goes to ``results``."""

    def __init__(self, results: Results, servers: Servers, contenders: list[Contender], scale: Scale) -> None:
        self._results = results
        self._servers = servers
        self._contenders = contenders
        self._scale = scale

    def run(self, steps: list[str]) -> None:
        """Measure each contender once. What it has failed at is not tried again in later rounds."""
        found: dict[str, dict[str, float]] = {}
        turn = len(self._results.rounds)
        self._results.rounds.append(found)
        for contender in order(self._contenders, turn):
            for step in steps:
                if not contender.lacks.issuperset(STEPS[step]) and not self._failed(contender, step):
                    self._measure(found.setdefault(contender.name, {}), contender, step)

    def _failed(self, contender: Contender, step: str) -> bool:
        return any(self._results.reason(contender.name, measure) for measure in STEPS[step])

    def _measure(self, found: dict[str, float], contender: Contender, step: str) -> None:
        began = time.monotonic()
        try:
            values = Bench(contender, self._servers, self._scale).step(step)
        except Exception as error:  # whatever it is: the others go on
            said = f"failed: {error if isinstance(error, _EXPECTED) else repr(error)}"
            self._results.failures.setdefault(contender.name, {}).update(dict.fromkeys(STEPS[step], said))
        else:
            found.update(values)
            said = ", ".join(f"{measure} {number(value)}" for measure, value in values.items())
        seconds = time.monotonic() - began
        print(f"{contender.name:16} {step:14} {seconds:5.1f} s  {said}", file=sys.stderr, flush=True)
