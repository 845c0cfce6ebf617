"""Time limits: one timer for all, each expired once, at its time, and never after its end."""

import asyncio

from taskq.timelimits import TimeLimits
from tests.support.waiting import until


class Timed:
    """Something with a limit, which notes when that was over."""

    def __init__(self) -> None:
        self.expired: list[float] = []

    def expire(self) -> None:
        self.expired.append(asyncio.get_running_loop().time())


async def test_each_expires_once_at_its_own_time() -> None:
    limits, loop = TimeLimits(), asyncio.get_running_loop()
    lengths_s = [0.06, 0.02, 0.04, 0.02, 0.06]
    timed, began = [Timed() for _ in lengths_s], loop.time()
    for each, length_s in zip(timed, lengths_s, strict=True):
        limits.begin(each, length_s)
    await until(lambda: all(each.expired for each in timed))
    assert all(each.expired[0] - began >= length_s for each, length_s in zip(timed, lengths_s, strict=True))
    assert [len(each.expired) for each in timed] == [1] * 5


async def test_what_ended_never_expires_and_its_neighbours_do() -> None:
    limits, ended, lasting = TimeLimits(), Timed(), Timed()
    limits.begin(ended, 0.02)
    limits.begin(lasting, 0.02)
    limits.end(ended, 0.02)
    await until(lambda: lasting.expired)
    limits.end(lasting, 0.02)
    assert ended.expired == []


async def test_a_shorter_limit_that_begins_later_is_not_held_up_by_a_longer_one() -> None:
    limits, long, short = TimeLimits(), Timed(), Timed()
    limits.begin(long, 900)
    limits.begin(short, 0.02)
    await until(lambda: short.expired)
    assert long.expired == []
    limits.close()


async def test_who_expires_another_in_its_turn_disturbs_nothing() -> None:
    limits, last = TimeLimits(), Timed()

    class Ending(Timed):
        def expire(self) -> None:
            super().expire()
            limits.end(last, 0.02)

    first = Ending()
    limits.begin(first, 0.02)
    limits.begin(last, 0.02)
    await until(lambda: first.expired)
    limits.close()
    assert last.expired == []


async def test_short_jobs_with_long_limits_leave_nothing_behind() -> None:
    limits = TimeLimits()
    for _ in range(100_000):
        job = Timed()
        limits.begin(job, 900)
        limits.end(job, 900)
    assert len(limits) == 0
    limits.close()
