"""A cluster of three under load: the node that leads is lost, and another one stands still."""

from pathlib import Path

import pytest

from tests.chaos.run import Run
from tests.chaos.shape import Shape
from tests.chaos.sites.cluster import ClusterSite

_TRIED = {"leader's node SIGKILL", "node SIGSTOP"}


@pytest.mark.alone
async def test_a_cluster_loses_nothing_when_its_leader_is_killed_and_a_node_stands_still(tmp_path: Path) -> None:
    async with ClusterSite(tmp_path) as site:
        site.faults = tuple(fault for fault in site.faults if fault.name in _TRIED)
        run = Run(site, tmp_path, seed=1, shape=Shape(workers=2, producers=1))
        outcome = await run.carry_out(seconds=60.0, most=len(_TRIED))
    assert (outcome.violations, outcome.leftovers, outcome.lost) == ((), (), 0)
    assert {each.name for each in outcome.tried} == _TRIED
    assert outcome.answered > 0
