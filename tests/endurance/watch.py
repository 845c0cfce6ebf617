"""Samples of this process and of its broker, taken at rest, and what is found in them.

A sample is kept as a line of a file. In memory it would be an object that the next one counts, and a piece in the
middle of the heap that keeps the allocator from giving back what is free around it.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import gc
import heapq
import json
import linecache
import multiprocessing
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from tests.endurance.growth import Course, judge

Census = Callable[[], dict[str, float]]

_MEMORY = {"Rss": "RSS KiB", "Pss": "PSS KiB", "Anonymous": "anonymous KiB"}
_OF_CHILD = 3  # file descriptors that a task process costs; how many of those there are goes up and down
_CANCELLED = 200  # more cancelled timers than the loop keeps for a while are counted


class Watch:
    """Of one run. ``census`` counts what is in the broker. ``log``: the file for the samples, new; without it, one that
    goes with this object.
    """

    def __init__(self, census: Census, log: Path | None = None) -> None:
        self._census = census
        self._file = tempfile.TemporaryFile("w+") if log is None else log.open("w+")  # noqa: SIM115  # :meth:`close`
        self._taken = 0

    def __len__(self) -> int:
        return self._taken

    def sample(self) -> None:
        """Take one."""
        in_broker = self._census()
        linecache.clearcache()  # source files of which a stack was shown: bounded, and thousands of blocks at once
        _empty_bounded_caches()
        cancelled = _drop_cancelled_timers(cast("Any", asyncio.get_running_loop()))
        for _ in range(3):  # what a finalizer lets go of is the next one's
            gc.collect()
        own = {**of_process(), "cancelled timers": cancelled // _CANCELLED}
        self._file.write(json.dumps({**own, **in_broker}) + "\n")
        self._file.flush()
        self._taken += 1

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def courses(self) -> list[Course]:
        """Return how every measure went."""
        self._file.seek(0)
        return judge([json.loads(line) for line in self._file])

    def report(self) -> str:
        """Return the courses that people want to see: all but those of types that do not grow."""
        shown = [course for course in self.courses() if course.grows or not course.measure.startswith("type ")]
        return "\n".join(f"{'GROWS ' if course.grows else '      '}{course}" for course in shown)

    def growing(self) -> list[str]:
        """Return what grows, in words: nothing, where all is well."""
        return [str(course) for course in self.courses() if course.grows]

    def found(self) -> set[str]:
        """Return the names of the measures that grow."""
        return {course.measure for course in self.courses() if course.grows}


def of_process() -> dict[str, float]:
    """Return what this process has now, on the running event loop."""
    objects = gc.get_objects()
    types = Counter(map(type, objects))
    total = len(objects)
    del objects
    named: Counter[str] = Counter()
    for kind, count in types.items():
        named[f"type {kind.__module__}.{kind.__qualname__}"] += count
    loop = cast("Any", asyncio.get_running_loop())
    children = len(multiprocessing.active_children())
    counted = {
        "blocks": sys.getallocatedblocks(),
        "objects": total,
        "task processes": children,
        "file descriptors": len(os.listdir("/proc/self/fd")) - _OF_CHILD * children,
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "timers": sum(not timer.cancelled() for timer in loop._scheduled),
        **{name: count for name, count in named.items() if count >= 10},
    }
    return {**_memory(), **counted}


def _empty_bounded_caches() -> None:
    """Forget what may be forgotten at any time. Such a cache fills for an hour with the names of queues that come and
    go, and then grows no more; one without a bound is left as it is, and counted.
    """
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper) and one.cache_parameters()["maxsize"] is not None:
            one.cache_clear()


def _drop_cancelled_timers(loop: Any) -> int:
    """Do what the loop does when half of its timers are cancelled, and return how many were.

    Until it does, up to a hundred of them and all that they hold stand in its heap: chance, and no growth.
    """
    before = len(loop._scheduled)
    for timer in loop._scheduled:
        timer._scheduled = not timer.cancelled()
    loop._scheduled = [timer for timer in loop._scheduled if timer._scheduled]
    heapq.heapify(loop._scheduled)
    loop._timer_cancelled_count = 0
    return before - len(loop._scheduled)


class _Mallinfo(ctypes.Structure):
    """What glibc says of its heap, in bytes."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    )


def _allocated(libc: ctypes.CDLL) -> dict[str, float]:
    """What is allocated and not freed beside Python's own small blocks; nothing where the C library does not tell."""
    mallinfo = getattr(libc, "mallinfo2", None)
    if mallinfo is None:
        return {}
    mallinfo.restype = _Mallinfo
    info = mallinfo()
    return {"allocated KiB": (info.uordblks + info.hblkhd) / 1024}


def _memory() -> dict[str, float]:
    """Read it when what is free was given back: the lists of a sample are the largest pieces that were ever asked for,
    and the allocator keeps them.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    found = _allocated(libc)
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        if name in _MEMORY:
            found[_MEMORY[name]] = float(rest.split()[0])
    return found
