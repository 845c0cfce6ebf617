"""How taskq's cost grows: with the jobs in flight, their size, the length of the queue, workers, queues, and time.

Each curve is a list of points: ``x``, and what was measured there. The curves of the embedded broker have the same
names with ``sqlite`` in front.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.contender import Contender
from benchmarks.processes import Failed
from benchmarks.results import Results
from benchmarks.roster import ROSTER
from benchmarks.servers import Servers
from benchmarks.stage import Stage, Working

Point = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How far it goes. ``long``: the jobs of the long run, ``step``: how often it is looked at."""

    seconds: float = 1.5
    jobs: int = 60_000
    long: int = 1_000_000
    step: int = 50_000
    timeout_s: float = 300.0


BRIEF = Sizes(seconds=0.3, jobs=3_000, long=20_000, step=1_000)


class Growth:
    """The curves of one broker."""

    def __init__(self, contender: Contender, servers: Servers, sizes: Sizes) -> None:
        arguments = tuple(part.replace("taskq_program", "taskq_growth") for part in contender.worker)
        self._contender = replace(contender, program="taskq_growth", worker=arguments)
        self._servers = servers
        self._sizes = sizes

    def in_flight(self) -> Iterator[Point]:
        """Enqueue with more and more waiting for their confirmation."""
        for flight in (1, 10, 100, 1_000, 10_000):
            with Stage.open(self._contender, self._servers, self._sizes.timeout_s) as stage:
                yield {"x": flight, "enqueue": _rate(stage.produced("enqueue", self._order(in_flight=flight)))}

    def payload(self) -> Iterator[Point]:
        """Enqueue and drain larger and larger jobs, up to some 400 MB of them."""
        for size in (100, 10_000, 1_000_000):
            jobs = min(self._sizes.jobs, 400_000_000 // size)
            yield {"x": size, **self._both({"BENCH_PAYLOAD": str(size)}, jobs)}

    def queues(self) -> Iterator[Point]:
        """Spread the jobs over queues that one worker consumes; it runs 96 of them at a time in all."""
        for number in (1, 4, 16):
            yield {"x": number, **self._both({"BENCH_QUEUES": str(number)}, self._sizes.jobs, 96 // number)}

    def workers(self) -> Iterator[Point]:
        """Drain one queue by more and more processes."""
        for number in (1, 2, 4):
            command = (*self._contender.worker, "--processes", str(number))
            contender = replace(self._contender, worker=command, processes=number)
            with Stage.open(contender, self._servers, self._sizes.timeout_s) as stage:
                sent = stage.produced("bulk", self._order(seconds=60, limit=2 * self._sizes.jobs))
                yield {"x": number, "drain": stage.drained(int(sent["jobs"]), 100).rate}

    def depth(self) -> Iterator[Point]:
        """Fill a queue and empty it again by one worker: rates at each length, and the worker's memory."""
        sizes = self._sizes
        with Stage.open(self._contender, self._servers, sizes.timeout_s) as stage:
            order = self._order(seconds=sizes.timeout_s, limit=sizes.long) | {"every": sizes.step}
            sent = stage.produced("bulk", order)
            marks = [*sent["marks"], sent["seconds"]]  # a part's numbers are taken at once, before it is enqueued
            for number, (before, after) in enumerate(itertools.pairwise(marks), 1):
                yield {"x": number * sizes.step, "enqueue": sizes.step / (after - before)}
            samples = _Samples(sizes.step)
            stage.drained(sizes.long, 100, samples.look)
            yield from samples.points(sizes.long)

    def _both(self, settings: dict[str, str], jobs: int, concurrency: int = 100) -> Point:
        with Stage.open(self._contender, self._servers, self._sizes.timeout_s, settings) as stage:
            sent = stage.produced("bulk", self._order(limit=jobs))
            return {"enqueue": _rate(sent), "drain": stage.drained(int(sent["jobs"]), concurrency).rate}

    def _order(self, *, seconds: float = 0, limit: int = 0, in_flight: int = 1000) -> dict[str, float]:
        return {
            "seconds": seconds or self._sizes.seconds,
            "limit": limit or self._sizes.jobs,
            "in_flight": in_flight,
        }


class _Samples:
    """A worker's progress and memory, noted down at each step."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._taken: list[tuple[int, float, float]] = []

    def look(self, working: Working) -> None:
        executed, now = working.counted().executed, time.monotonic()
        if executed >= len(self._taken) * self._step and executed:
            self._taken.append((executed, now, working.pss_mb()))

    def points(self, jobs: int) -> Iterator[Point]:
        for (before, began, _), (executed, ended, pss) in zip(self._taken, self._taken[1:], strict=False):
            rate = (executed - before) / (ended - began)
            yield {"x": jobs - executed, "executed": executed, "drain": rate, "pss_mb": pss}


def _rate(sent: Point) -> float:
    return float(sent["jobs"] / sent["seconds"])


def grow(results: Results, servers: Servers, sizes: Sizes, chosen: list[str]) -> None:
    """Measure every curve of both brokers. One that fails is told and left out."""
    for name, prefix in (("taskq", ""), ("taskq-sqlite", "sqlite ")):
        contender = next(each for each in ROSTER if each.name == name)
        growth = Growth(contender, servers, sizes)
        curves: dict[str, Callable[[], Iterator[Point]]] = {
            "in flight": growth.in_flight,
            "payload": growth.payload,
            "queues": growth.queues,
            "workers": growth.workers,
            "depth": growth.depth,
        }
        for curve, measured in curves.items():
            if contender.name in chosen:
                _measure(results, prefix + curve, measured)


def _measure(results: Results, curve: str, measured: Callable[[], Iterator[Point]]) -> None:
    points = results.growth.setdefault(curve, [])
    began = time.monotonic()
    try:
        points.extend(measured())
        said = f"{len(points)} points"
    except Exception as error:  # whatever it is: the other curves go on
        said = f"failed: {error if isinstance(error, Failed) else repr(error)}"
        results.failures.setdefault(curve, {})["growth"] = said
    print(f"{curve:31} {time.monotonic() - began:5.1f} s  {said}", file=sys.stderr, flush=True)
