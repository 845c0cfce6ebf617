"""What excuses a late job has to be able to tell a machine that stood still from one that did not."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.stalls import Stall, stood_still_s, watching
from tests.support.waiting import eventually


@pytest.mark.parametrize(
    ("stalls", "seconds"),
    [
        ([], 0),
        ([(0, 9)], 0),
        ([(21, 30)], 0),
        ([(12, 15)], 3),
        ([(5, 12)], 2),
        ([(18, 25)], 2),
        ([(0, 30)], 10),
        ([(12, 15), (13, 16)], 4),
        ([(13, 16), (12, 15), (12.5, 13), (19, 22)], 5),
    ],
)
def test_only_what_overlaps_counts_and_only_once(stalls: list[Stall], seconds: float) -> None:
    assert stood_still_s(stalls, 10, 20) == pytest.approx(seconds)


@pytest.mark.alone
async def test_a_standstill_is_noticed(tmp_path: Path) -> None:
    with watching(tmp_path) as watch:
        await eventually((tmp_path / "stalls.data").exists, "it watches")
        # Only the watcher stands still here, which looks the same to it.
        began = time.time()
        os.kill(watch.pid, signal.SIGSTOP)
        await eventually(lambda: time.time() - began > 0.3, "it stands still for a while")
        os.kill(watch.pid, signal.SIGCONT)
        await eventually(lambda: stood_still_s(watch.stalls(), began, time.time()) > 0.2, "it is noted")
