"""One contender and a place for its jobs: the steps that measurements are made of.

A producer and a worker are processes of their own. The results of all jobs are summed up: a run that lost or doubled
one has no result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contender import Contender
from benchmarks.counts import Counts, counts, expected_total
from benchmarks.processes import Failed, process, pss_mb, run, wait_until
from benchmarks.servers import Servers
from benchmarks.venvs import binaries

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True, slots=True)
class Working:
    """A worker that runs."""

    pid: int
    folder: Path
    wait: Callable[[Callable[[], bool]], None]
    """Wait for a condition while the worker lives."""

    def counted(self) -> Counts:
        return counts(self.folder)

    def pss_mb(self) -> float:
        return pss_mb(self.pid)


class Stage:
    """``place`` is empty when the stage is opened, and gone with it."""

    def __init__(self, contender: Contender, place: Mapping[str, str], timeout_s: float) -> None:
        self._contender = contender
        self._place = place
        self._timeout_s = timeout_s

    @classmethod
    @contextmanager
    def open(
        cls, contender: Contender, servers: Servers, timeout_s: float, settings: Mapping[str, str] | None = None
    ) -> Iterator[Stage]:
        """Have a place for the contender; ``settings`` are further environment variables."""
        with servers.place(contender) as place, TemporaryDirectory(prefix="taskq-tally-") as tally:
            stage = cls(contender, {**place, "BENCH_TALLY": tally, **(settings or {})}, timeout_s)
            if contender.prepare:
                run(stage._command(*contender.prepare), stage._environment(1), PROGRAMS, timeout_s)
            yield stage

    def produced(self, what: str, order: Mapping[str, float], *, results: bool = False) -> dict[str, Any]:
        """Run a producer (``enqueue``, ``bulk``, ``call``) and return what it measured."""
        command = self._command("python", f"{self._contender.program}.py", what, json.dumps(order))
        environment = self._environment(int(order.get("in_flight", 1)), results=results)
        measured: dict[str, Any] = json.loads(run(command, environment, PROGRAMS, self._timeout_s))
        return measured

    def drained(self, jobs: int, concurrency: int, watch: Callable[[Working], None] = lambda working: None) -> Counts:
        """Have a worker execute the jobs that wait; ``watch`` is called again and again meanwhile.

        Not timed are as many at the beginning as it may have fetched before it executed the first.
        """
        skipped = min(jobs // 3, concurrency) // self._contender.processes
        with self.working(concurrency, settings={"BENCH_SKIP": str(skipped)}) as working:

            def is_done() -> bool:
                watch(working)
                return working.counted().executed >= jobs

            working.wait(is_done)
        done = counts(Path(self._place["BENCH_TALLY"]))  # the worker has ended: nothing is added any more
        off = done.total - expected_total(jobs)
        if done.executed != jobs or off:
            raise Failed(f"{jobs:,} jobs were executed {done.executed:,} times, the sum is off by {off:,}")
        return done

    @contextmanager
    def working(
        self, concurrency: int, *, results: bool = False, settings: Mapping[str, str] | None = None
    ) -> Iterator[Working]:
        """Have a worker."""
        command = self._command(*self._contender.command(concurrency))
        environment = {**self._environment(concurrency, results=results), **(settings or {})}
        with process(command, environment, PROGRAMS) as (running, output):
            yield Working(
                running.pid,
                Path(self._place["BENCH_TALLY"]),
                lambda holds: wait_until(holds, running, output, self._timeout_s),
            )

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [str(binaries(self._contender) / program), *arguments]

    def _environment(self, concurrency: int, *, results: bool = False) -> dict[str, str]:
        return {
            **self._place,
            **self._contender.environment(concurrency),
            "BENCH_CONCURRENCY": str(concurrency),
            "BENCH_RESULTS": "1" if results else "",
            "PYTHONPATH": str(PROGRAMS),
        }
