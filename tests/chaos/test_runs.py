"""A short run on each broker: things break for some seconds, and every promise is kept.

`make chaos` runs it for long. The seeds are such that the first faults are of many kinds, and short.
"""

from pathlib import Path

import pytest

from tests.chaos.__main__ import told
from tests.chaos.run import Run
from tests.chaos.shape import Shape
from tests.chaos.sites.rabbit import RabbitSite
from tests.chaos.sites.sqlite import SqliteSite
from tests.support import rabbit

pytestmark = pytest.mark.alone

SECONDS = 12.0


async def test_nothing_is_lost_on_a_file(tmp_path: Path) -> None:
    async with SqliteSite(tmp_path) as site:
        outcome = await Run(site, tmp_path, seed=1, shape=Shape(), tell=print).carry_out(seconds=SECONDS)
    assert outcome.good, told(outcome)
    assert len(outcome.tried) >= 4


@pytest.mark.parametrize("version", rabbit.versions(), ids=rabbit.label)
async def test_nothing_is_lost_on_rabbitmq(tmp_path: Path, version: str) -> None:
    async with RabbitSite(tmp_path, version) as site:
        outcome = await Run(site, tmp_path, seed=1, shape=Shape(), tell=print).carry_out(seconds=SECONDS)
    assert outcome.good, told(outcome)
    assert len(outcome.tried) >= 4
