"""The rule by which runs are judged finds what grows, and only that; and samples see what a program leaves behind."""

import asyncio
import contextlib
import functools
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq.broker.sqlite import SqliteBroker
from taskq.clock import SystemClock
from taskq.tasks.queues import Queue
from tests.conformance.stand import publish, to
from tests.endurance.brokers import on_file
from tests.endurance.growth import FEWEST, allowed, judge
from tests.endurance.watch import Watch

SAMPLES = 40
SHORT = 8


def growing(measure: str, levels: list[float]) -> bool:
    (course,) = judge([{measure: level} for level in levels])
    return course.grows


def noisy(level: float, noise: float, per_sample: float = 0.0) -> list[float]:
    rng = random.Random(f"{level} {noise} {per_sample}")
    return [level + per_sample * at + rng.uniform(-noise, noise) for at in range(SAMPLES)]


@pytest.mark.parametrize(
    ("measure", "levels"),
    [
        ("tasks", [10.0] * SAMPLES),
        ("tasks", [3.0, 9.0, 12.0, *[14.0] * (SAMPLES - 3)]),
        ("file descriptors", noisy(30, 2)),
        ("type builtins.dict", noisy(5000, 60)),
        ("type builtins.dict", [100.0] * 20 + [120.0] * 20),
        ("RSS KiB", noisy(90_000, 3000)),
        ("RSS KiB", [*[80_000.0 + 1000 * at for at in range(9)], *noisy(90_000, 500)[9:]]),
        ("blocks", noisy(600_000, 3000)),
        ("blocks", [600_000 + 4000 * (1 - 0.9**at) for at in range(SAMPLES)]),
        ("blocks", [*noisy(600_000, 50)[:20], *noisy(604_000, 50)[20:]]),
        ("tasks", [*[10.0] * 20, 500.0, *[10.0] * 19]),
    ],
    ids=lambda value: value if isinstance(value, str) else "levels",
)
def test_what_stays_within_its_noise_does_not_grow(measure: str, levels: list[float]) -> None:
    assert not growing(measure, levels)


@pytest.mark.parametrize(
    ("measure", "levels"),
    [
        ("tasks", [10.0 + at // 10 for at in range(SAMPLES)]),
        ("broker's channels", [2.0 + at for at in range(SAMPLES)]),
        ("file descriptors", noisy(30, 2, 0.5)),
        ("type builtins.dict", noisy(5000, 60, 10)),
        ("type taskq.x.Y", [0.0 + at for at in range(SAMPLES)]),
        ("type taskq.x.Y", [0.0 + at // 3 for at in range(SAMPLES)]),
        ("RSS KiB", noisy(90_000, 3000, 300)),
        ("PSS KiB", [90_000.0 + 60 * at for at in range(SAMPLES)]),
        ("blocks", noisy(600_000, 3000, 400)),
    ],
    ids=lambda value: value if isinstance(value, str) else "levels",
)
def test_what_climbs_grows_and_is_found(measure: str, levels: list[float]) -> None:
    assert growing(measure, levels)


def test_too_few_samples_are_no_verdict() -> None:
    with pytest.raises(ValueError, match="say nothing"):
        judge([{"tasks": 1.0}] * FEWEST)


def test_each_measure_is_allowed_what_the_rule_says() -> None:
    names = ("threads", "type a.B", "objects", "blocks", "RSS KiB")
    assert [allowed(name).at(100_000) for name in names] == [2, 5000, 1000, 1000, 5000]


class Left:
    """What a leak leaves behind."""


@contextlib.contextmanager
def everything_left(times: int, watch: Watch) -> Iterator[None]:
    """Take samples, and leave one of everything behind after each, until the block ends."""
    loop, stop = asyncio.get_running_loop(), threading.Event()
    lefts: list[Left] = []
    with contextlib.ExitStack() as kept:
        for _ in range(times):
            watch.sample()
            lefts += [Left() for _ in range(10)]
            kept.enter_context(open(os.devnull))
            kept.callback(loop.create_task(asyncio.Event().wait()).cancel)
            kept.callback(loop.call_later(1000, print).cancel)
            thread = threading.Thread(target=stop.wait)
            thread.start()
            kept.callback(thread.join)
        kept.callback(stop.set)  # the first that is called
        yield


async def test_whatever_a_program_leaves_behind_is_found() -> None:
    with contextlib.closing(Watch(dict)) as watch, everything_left(SHORT, watch):
        leaks = {"file descriptors", "tasks", "threads", "timers", f"type {Left.__module__}.Left"}
        assert watch.found() >= leaks


async def test_whatever_a_program_leaves_behind_in_a_file_is_found(tmp_path: Path) -> None:
    ground = on_file(tmp_path)
    with contextlib.closing(Watch(ground.census)) as watch:
        async with SqliteBroker(ground.url, clock=SystemClock()) as broker:
            for number in range(SHORT):
                await broker.declare([Queue(name=f"left-{number}")])
                await publish(broker, to(f"left-{number}"))
                await broker.consume("left-0", prefetch=1, deliver=lambda delivery: None)
                watch.sample()
            assert watch.found() >= {"rows of queue", "rows of message", "rows of consumer"}


@pytest.mark.parametrize(("bound", "grows"), [(None, True), (1_000_000, False)])
async def test_a_cache_that_remembers_ever_more_is_found_unless_it_has_a_bound(bound: int | None, grows: bool) -> None:
    remembered = functools.lru_cache(bound)(str)
    with contextlib.closing(Watch(dict)) as watch:
        for number in range(SHORT):
            watch.sample()
            for each in range(10_000):
                remembered(10_000 * number + each)
        assert ("blocks" in watch.found()) is grows


async def test_a_program_that_does_nothing_does_not_grow() -> None:
    with contextlib.closing(Watch(dict)) as watch:
        for _ in range(SHORT):
            watch.sample()
            await asyncio.sleep(0)
        assert not watch.growing()
