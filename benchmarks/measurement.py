"""What is measured of a contender in one round, and how.

Each measurement has an empty place. Jobs are in the queue before the worker starts; a drain's rate is that up to
the last execution, as the task itself notes the times, so that starting costs nothing.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from benchmarks.contender import Contender
from benchmarks.servers import Servers
from benchmarks.stage import Stage

MEASURES = {
    "enqueue": "enqueue, confirmed, 1,000 in flight, jobs/s",
    "bulk": "enqueue in bulk, jobs/s",
    "drain": "drain, concurrency 1,000, jobs/s",
    "drain100": "drain, concurrency 100, jobs/s",
    "drain1": "drain, prefetch 1, jobs/s",
    "call": "calls, 100 in flight, calls/s",
    "p50": "one call at a time, p50, ms",
    "p99": "one call at a time, p99, ms",
    "start": "start to first job, s",
    "memory": "idle worker, PSS, MB",
}

LOWER_IS_BETTER = frozenset({"p50", "p99", "start", "memory"})

STEPS = {
    "drain_many": ("enqueue", "drain"),
    "drain_hundred": ("bulk", "drain100"),
    "drain_one": ("drain1",),
    "calls": ("call", "p50", "p99"),
    "start": ("start", "memory"),
}
"""Methods of :class:`Bench`, and the measures that each returns."""

Found = dict[str, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: seconds of enqueueing, jobs at most, calls for ``call_seconds``, starts."""

    seconds: float = 1.5
    jobs: int = 60_000
    jobs_one: int = 4_000
    call_seconds: float = 1.5
    starts: int = 2
    timeout_s: float = 60.0


FULL = Scale()
QUICK = Scale(seconds=0.6, jobs=10_000, jobs_one=800, call_seconds=0.5, starts=1, timeout_s=30.0)


class Bench:
    """One contender in one round."""

    def __init__(self, contender: Contender, servers: Servers, scale: Scale) -> None:
        self._contender = contender
        self._servers = servers
        self._scale = scale

    def step(self, name: str) -> Found:
        """Run one of `STEPS`. Raises what says in its last line why there is no result."""
        found: Found = getattr(self, name)()
        return found

    def drain_many(self) -> Found:
        """Enqueue one by one, and execute 1,000 at a time."""
        return self._enqueue_and_drain("enqueue", 1000, "drain")

    def drain_hundred(self) -> Found:
        """Enqueue in bulk, and execute 100 at a time."""
        return self._enqueue_and_drain("bulk", 100, "drain100")

    def drain_one(self) -> Found:
        """Execute jobs with a prefetch of one."""
        with self._stage() as stage:
            sent = stage.produced(self._way("bulk"), self._order(min(self._scale.jobs_one, self._contender.jobs_one)))
            return {"drain1": stage.drained(int(sent["jobs"]), 1).rate}

    def calls(self) -> Found:
        """Call and wait for the result, from 100 callers and from one."""
        with self._stage() as stage, stage.working(100, results=True):
            many = self._called(stage, self._contender.callers)
            one = self._called(stage, 1)
            return {"call": many["jobs"] / many["seconds"], "p50": one["p50_ms"], "p99": one["p99_ms"]}

    def start(self) -> Found:
        """Start a worker for one job that waits, and look at its memory when it has been run."""
        found = [self._started() for _ in range(self._scale.starts)]
        return {"start": min(each[0] for each in found), "memory": min(each[1] for each in found)}

    def _enqueue_and_drain(self, way: str, concurrency: int, name: str) -> Found:
        with self._stage() as stage:
            sent = stage.produced(self._way(way), self._order(self._scale.jobs))
            rate = {way: sent["jobs"] / sent["seconds"]} if self._way(way) == way else {}
            return rate | {name: stage.drained(int(sent["jobs"]), concurrency).rate}

    def _way(self, way: str) -> str:
        return "enqueue" if way in self._contender.lacks else way

    def _stage(self) -> AbstractContextManager[Stage]:
        return Stage.open(self._contender, self._servers, self._scale.timeout_s)

    def _order(self, jobs: int, in_flight: int = 1000) -> dict[str, float]:
        return {"seconds": self._scale.seconds, "limit": jobs, "in_flight": in_flight}

    def _called(self, stage: Stage, in_flight: int) -> dict[str, Any]:
        order = {"seconds": self._scale.call_seconds, "limit": 1_000_000, "in_flight": in_flight}
        return stage.produced("call", order, results=True)

    def _started(self) -> tuple[float, float]:
        with self._stage() as stage:
            stage.produced("enqueue", self._order(1, in_flight=1))
            began = time.monotonic_ns()
            with stage.working(10) as working:
                working.wait(lambda: working.counted().executed >= 1)
                looks: list[float] = []

                def is_steady() -> bool:
                    looks.append(working.pss_mb())
                    return len(looks) > 20 and max(looks[-15:]) < 1.01 * min(looks[-15:])

                working.wait(is_steady)
                return (working.counted().first_ns - began) / 1e9, looks[-1]
