"""The loop of a fuzzer: draw an input, check it within bounds of time and memory, and make what fails small."""

from __future__ import annotations

import time
import traceback
import tracemalloc
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

MEASURED_EVERY = 32  # executions; to measure memory costs several times the execution
LEAST_MEMORY, MEMORY_PER_BYTE = 8 << 20, 400
LEAST_TIME_S, TIME_PER_BYTE_S = 0.5, 50e-6
_MOST_STEPS = 2_000


class Unbounded(AssertionError):
    """An input took more time or memory than its size explains."""


@dataclass(frozen=True, slots=True)
class Case:
    """One input. ``kind`` says what is done with it; ``size`` is that of the input, in bytes."""

    kind: str
    data: Any
    size: int


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that fails. ``smallest``: one that was made of it and fails in the same way, as text."""

    number: int
    error: str
    traceback: str
    smallest: str


@dataclass(slots=True)
class Outcome:
    """What a run came to. ``kinds``: how often each kind of input was tried."""

    executions: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter[str])
    finding: Finding | None = None


class Fuzzer(ABC):
    """What to try, and what has to hold."""

    @abstractmethod
    def draw(self, rng: Random) -> Case:
        """Return an input."""

    @abstractmethod
    def check(self, case: Case) -> None:
        """Raise for an input that breaks a property: an assertion, or whatever the code under test lets out."""

    @abstractmethod
    def smaller(self, case: Case) -> Iterator[Case]:
        """Yield inputs that are a little simpler, the simplest first."""


def run(
    fuzzer: Fuzzer, seed: int, *, seconds: float | None = None, executions: int | None = None, first: int = 0
) -> Outcome:
    """Try inputs until the time or their number is over, or one fails. ``seconds`` or ``executions`` is given."""
    outcome = Outcome()
    began = time.monotonic()
    number = first
    while (executions is None or outcome.executions < executions) and (
        seconds is None or time.monotonic() - began < seconds
    ):
        case = fuzzer.draw(Random(f"{seed}:{number}"))
        outcome.executions += 1
        outcome.kinds[case.kind] += 1
        error = failure(fuzzer, case, measured=number % MEASURED_EVERY == 0)
        if error is not None:
            outcome.finding = _finding(fuzzer, case, number, error)
            break
        number += 1
    outcome.seconds = time.monotonic() - began
    return outcome


def failure(fuzzer: Fuzzer, case: Case, *, measured: bool) -> BaseException | None:
    """Return how an input fails, ``None`` when it does not. ``measured``: its memory, too."""
    if measured:
        tracemalloc.start()
    began = time.process_time()
    try:
        fuzzer.check(case)
        took_s = time.process_time() - began
        if not measured and took_s > LEAST_TIME_S + TIME_PER_BYTE_S * case.size:
            raise Unbounded(f"{took_s:.2f} s of the processor for {case.size:,} bytes")
        if measured and (peak := tracemalloc.get_traced_memory()[1]) > LEAST_MEMORY + MEMORY_PER_BYTE * case.size:
            raise Unbounded(f"{peak:,} bytes of memory for {case.size:,} bytes")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also what is no `Exception`, as a panic of a library in Rust
        return error
    finally:
        if measured:
            tracemalloc.stop()
    return None


def _finding(fuzzer: Fuzzer, case: Case, number: int, error: BaseException) -> Finding:
    smallest = _shrunk(fuzzer, case, error)
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-8))
    return Finding(number, f"{type(error).__name__}: {str(error)[:500]}", text, f"{smallest.kind} {smallest.data!r}")


def _shrunk(fuzzer: Fuzzer, case: Case, error: BaseException) -> Case:
    """Return the smallest input found that fails as ``case`` does."""
    measured = isinstance(error, Unbounded) and "memory" in str(error)
    steps = 0
    while True:
        for simpler in fuzzer.smaller(case):
            steps += 1
            if steps > _MOST_STEPS:
                return case
            again = failure(fuzzer, simpler, measured=measured)
            if again is not None and _alike(error, again):
                case = simpler
                break
        else:
            return case


def _alike(one: BaseException, other: BaseException) -> bool:
    return type(one) is type(other) and _place(one) == _place(other)


def _place(error: BaseException) -> tuple[str, int] | None:
    frames = traceback.extract_tb(error.__traceback__)
    return (frames[-1].filename, frames[-1].lineno or 0) if frames else None


def smaller_bytes(data: bytes) -> Iterator[bytes]:
    """Yield ``data`` without a piece, long pieces first, then with zeros in the place of bytes."""
    size = len(data) // 2
    while size:
        for at in range(0, len(data), size):
            yield data[:at] + data[at + size :]
        size //= 2
    if len(data) <= 64:
        for at, byte in enumerate(data):
            if byte:
                yield data[:at] + b"\0" + data[at + 1 :]
