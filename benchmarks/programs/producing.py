"""The producer's side of every contender: the measured loops, on an event loop or in threads.

A program says how one job is enqueued, how many are, and how one is called; what is measured, and how, is here and the
same for all. ``python PROGRAM WHAT ORDER`` prints one line of JSON: how many jobs in how many seconds. ``ORDER`` is
JSON: ``seconds``, ``limit`` (jobs) and ``in_flight``. Nothing but the standard library is imported at the top.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice

WARM_UP = 3  # calls of each caller, so that all are connected


@dataclass
class Numbers:
    """The jobs' numbers, 0, 1, 2 …, until the time is over or the limit is reached; many threads may take of them."""

    seconds: float
    limit: int
    taken: int = 0
    began: float = 0.0  # with the first number
    every: int = 0  # the time is noted at each so many of them
    marks: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self._lock:
            self.began = self.began or time.monotonic()
            if self.taken >= self.limit or time.monotonic() - self.began >= self.seconds:
                raise StopIteration
            self.taken += 1
            if self.every and self.taken % self.every == 0:
                self.marks.append(time.monotonic() - self.began)
            return self.taken - 1

    def result(self) -> dict[str, object]:
        """Return what was measured, when all of it is confirmed."""
        return {"jobs": self.taken, "seconds": time.monotonic() - self.began, "marks": self.marks}


def chunks(numbers: Iterator[int], size: int = 1000) -> Iterator[list[int]]:
    """Yield the numbers in lists, for those whose bulk API takes lists."""
    while chunk := list(islice(numbers, size)):
        yield chunk


def run(
    opened: Callable[[], AbstractAsyncContextManager[object]],
    *,
    enqueue: Callable[[int], Awaitable[object]] | None = None,
    bulk: Callable[[Iterator[int]], Awaitable[object]] | None = None,
    call: Callable[[int], Awaitable[int]] | None = None,
) -> None:
    """Measure a program on uvloop, where it is installed."""
    what, order = sys.argv[1], json.loads(sys.argv[2])

    async def main() -> None:
        async with opened():
            if what == "call":
                result = await _call(call, order)
            elif bulk is not None and (what == "bulk" or enqueue is None):
                numbers = Numbers(order["seconds"], order["limit"], every=order.get("every", 0))
                await bulk(numbers)
                result = numbers.result()
            else:
                result = await _enqueue(enqueue, order)
        print(json.dumps(result), flush=True)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  # where the contender's environment has it
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _enqueue(enqueue, order) -> dict[str, object]:
    numbers = Numbers(order["seconds"], order["limit"])

    async def producer() -> None:
        for number in numbers:
            await enqueue(number)

    await asyncio.gather(*(producer() for _ in range(order["in_flight"])))
    return numbers.result()


async def _call(call, order) -> dict[str, object]:
    numbers = Numbers(order["seconds"], order["limit"])
    times: list[float] = []

    async def caller(numbers: Iterable[int]) -> None:
        for number in numbers:
            began = time.perf_counter()
            assert await call(number) == number + 1
            times.append(time.perf_counter() - began)

    assert await call(0) == 1  # alone: the worker is up
    for each in (range(WARM_UP), numbers):
        times.clear()
        await asyncio.gather(*(caller(each) for _ in range(order["in_flight"])))
    return numbers.result() | _quantiles(times)


def run_threads(
    *,
    enqueue: Callable[[int], object],
    call: Callable[[int], int],
    bulk: Callable[[Iterator[int]], object] | None = None,
    opened=nullcontext,
    threads: int = 8,
) -> None:
    """Measure a program that blocks; ``threads``: how many of them enqueue fastest."""
    what, order = sys.argv[1], json.loads(sys.argv[2])
    with opened():
        if what == "call":
            result = _call_in_threads(call, order)
        elif what == "bulk" and bulk is not None:
            numbers = Numbers(order["seconds"], order["limit"])
            bulk(numbers)
            result = numbers.result()
        else:
            numbers = Numbers(order["seconds"], order["limit"])
            _in_threads(min(threads, order["in_flight"]), lambda: [enqueue(number) for number in numbers])
            result = numbers.result()
    print(json.dumps(result), flush=True)


def _call_in_threads(call, order) -> dict[str, object]:
    numbers = Numbers(order["seconds"], order["limit"])
    times: list[float] = []
    assert call(0) == 1  # alone: the worker is up
    all_connected = threading.Barrier(order["in_flight"])

    def caller() -> None:
        for number in range(WARM_UP):
            assert call(number) == number + 1
        all_connected.wait()
        for number in numbers:
            began = time.perf_counter()
            assert call(number) == number + 1
            times.append(time.perf_counter() - began)

    _in_threads(order["in_flight"], caller)
    return numbers.result() | _quantiles(times)


def _in_threads(number: int, work: Callable[[], object]) -> None:
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _quantiles(times: list[float]) -> dict[str, object]:
    ordered = sorted(times)
    return {f"p{share}_ms": 1000 * ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in (50, 99)}
