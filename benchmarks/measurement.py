"""What is measured of a contender in one round, and how: producer, then worker, in processes of their own.

Each measurement has an empty place. Jobs are in the queue before the worker starts; a drain's rate is that between the
first and the last execution, as the task itself notes them, so that starting costs nothing. The results of all jobs
are summed up: a run that lost or doubled one has no rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contender import Contender
from benchmarks.counts import Counts, counts, expected_total
from benchmarks.processes import Failed, process, pss_mb, result_of, run, wait_until
from benchmarks.servers import Servers
from benchmarks.venvs import binaries

PROGRAMS = Path(__file__).parent / "programs"

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
        with self._place() as place:
            jobs = int(self._produced(place, self._fastest, limit=self._scale.jobs_one)["jobs"])
            return {"drain1": self._drained(place, jobs, 1).rate}

    def calls(self) -> Found:
        """Call and wait for the result, from 100 callers and from one."""
        with self._place() as place, self._worker(place | {"BENCH_RESULTS": "1"}, 100):
            many = self._called(place, self._contender.callers)
            one = self._called(place, 1)
            return {"call": many["jobs"] / many["seconds"], "p50": one["p50_ms"], "p99": one["p99_ms"]}

    def start(self) -> Found:
        """Start a worker for one job that waits, and look at its memory when it has been run."""
        found: list[tuple[float, float]] = []
        for _ in range(self._scale.starts):
            with self._place() as place:
                self._produced(place, "enqueue", limit=1, in_flight=1)
                found.append(self._started(place))
        return {"start": min(each[0] for each in found), "memory": min(each[1] for each in found)}

    @property
    def _fastest(self) -> str:
        return "enqueue" if "bulk" in self._contender.lacks else "bulk"

    def _enqueue_and_drain(self, way: str, concurrency: int, name: str) -> Found:
        with self._place() as place:
            lacking = way in self._contender.lacks
            sent = self._produced(place, "enqueue" if lacking else way, limit=self._scale.jobs)
            rate = {} if lacking else {way: sent["jobs"] / sent["seconds"]}
            return rate | {name: self._drained(place, int(sent["jobs"]), concurrency).rate}

    @contextmanager
    def _place(self) -> Iterator[dict[str, str]]:
        with self._servers.place(self._contender) as place, TemporaryDirectory(prefix="taskq-tally-") as tally:
            place |= {"BENCH_TALLY": tally}
            if self._contender.prepare:
                program, *arguments = self._contender.prepare
                command = [str(binaries(self._contender) / program), *arguments]
                run(command, self._environment(place, 1), PROGRAMS, self._scale.timeout_s)
            yield place

    def _produced(self, place: Mapping[str, str], what: str, *, limit: int, in_flight: int = 1000) -> dict[str, Any]:
        return self._ordered(place, what, self._scale.seconds, limit, in_flight)

    def _called(self, place: Mapping[str, str], in_flight: int) -> dict[str, Any]:
        return self._ordered({**place, "BENCH_RESULTS": "1"}, "call", self._scale.call_seconds, 1_000_000, in_flight)

    def _ordered(
        self, place: Mapping[str, str], what: str, seconds: float, limit: int, in_flight: int
    ) -> dict[str, Any]:
        order = f'{{"seconds": {seconds}, "limit": {limit}, "in_flight": {in_flight}}}'
        command = [str(binaries(self._contender) / "python"), f"{self._contender.program}.py", what, order]
        return result_of(command, self._environment(place, in_flight), PROGRAMS, self._scale.timeout_s)

    def _drained(self, place: Mapping[str, str], jobs: int, concurrency: int) -> Counts:
        with self._worker(place, concurrency) as (tally, wait):
            wait(lambda: counts(tally).executed >= jobs)
            done = counts(tally)
        done = counts(tally)  # again: what ran after the last of them was run twice
        if done.executed != jobs or done.total != expected_total(jobs):
            raise Failed(
                f"{jobs:,} jobs were executed {done.executed:,} times, sum off by {done.total - expected_total(jobs):,}"
            )
        return done

    def _started(self, place: Mapping[str, str]) -> tuple[float, float]:
        began = time.monotonic_ns()
        with self._worker(place, 10) as (tally, wait):
            wait(lambda: counts(tally).executed >= 1)
            seconds = (counts(tally).first_ns - began) / 1e9
            looks = [0.0]

            def is_steady() -> bool:
                looks.append(pss_mb(self._worker_pid))
                return len(looks) > 20 and max(looks[-15:]) < 1.01 * min(looks[-15:])

            wait(is_steady)
            return seconds, looks[-1]

    @contextmanager
    def _worker(
        self, place: Mapping[str, str], concurrency: int
    ) -> Iterator[tuple[Path, Callable[[Callable[[], bool]], None]]]:
        """Have a worker; yields the folder of its counts, and how to wait for something while it lives."""
        program, *arguments = self._contender.command(concurrency)
        command = [str(binaries(self._contender) / program), *arguments]
        with process(command, self._environment(place, concurrency), PROGRAMS) as (running, output):
            self._worker_pid = running.pid
            yield Path(place["BENCH_TALLY"]), lambda holds: wait_until(holds, running, output, self._scale.timeout_s)

    def _environment(self, place: Mapping[str, str], concurrency: int) -> dict[str, str]:
        return {
            **place,
            **self._contender.environment(concurrency),
            "BENCH_CONCURRENCY": str(concurrency),
            "PYTHONPATH": str(PROGRAMS),
            "PYTHONDONTWRITEBYTECODE": "",
        }
