"""A cluster of three under load: the node that leads is lost, another one stands still, and the one with the reply
queue of a caller is down.

On RabbitMQ 3.10 alone: a cluster takes some 15 s to start. `python -m tests.chaos --broker cluster4` runs it on 4.x.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq import BrokerBlocked, PublishUnconfirmed
from taskq.lifecycle import ConsumerResumed
from tests.chaos.__main__ import told
from tests.chaos.member import worker
from tests.chaos.program import LEDGER, app, echo
from tests.chaos.run import Run
from tests.chaos.shape import Shape
from tests.chaos.sites.cluster import ClusterSite, new_cluster
from tests.chaos.world import World, environment
from tests.support import rabbit
from tests.support.rabbit.cluster import RabbitCluster
from tests.support.waiting import eventually, until

pytestmark = pytest.mark.alone

_TRIED = {"leader's node SIGKILL", "node SIGSTOP"}
_ANSWERED_S = 20.0
REPLIES = "taskq.reply."
resumed: list[str] = []
"""The queues that this process consumes again, or instead of another one."""


@app.on(ConsumerResumed)
def note(event: ConsumerResumed) -> None:
    resumed.append(event.queue)


@pytest.fixture(scope="module", params=rabbit.versions(), ids=rabbit.label)
def cluster(request: pytest.FixtureRequest) -> Iterator[RabbitCluster]:
    with new_cluster(request.param) as started:
        yield started


async def test_nothing_is_lost_when_the_leader_is_killed_and_a_node_stands_still(
    cluster: RabbitCluster, tmp_path: Path
) -> None:
    async with ClusterSite(tmp_path, cluster=cluster) as site:
        site.faults = tuple(fault for fault in site.faults if fault.name in _TRIED)
        run = Run(site, tmp_path, seed=1, shape=Shape(workers=2, producers=1))
        outcome = await run.carry_out(seconds=60.0, most=len(_TRIED))
    assert (outcome.violations, outcome.leftovers, outcome.lost) == ((), (), 0), told(outcome)
    assert {each.name for each in outcome.tried} == _TRIED
    assert outcome.answered > 0


async def test_calls_are_answered_while_the_node_of_the_reply_queue_is_down(
    cluster: RabbitCluster, tmp_path: Path
) -> None:
    async with ClusterSite(tmp_path, cluster=cluster) as site:
        world = World(site, tmp_path, {LEDGER: str(tmp_path / "ledger"), **site.variables})
        try:
            world.launch(worker("worker-1", concurrency=1))  # it is on another node than the caller
            with environment({"TASKQ_URL": site.url("caller-0"), **site.variables}):
                async with app:
                    await answered(1)
                    home = cluster.nodes[0]
                    home.write_down()
                    resumed.clear()
                    home.kill()
                    await until(lambda: any(queue.startswith(REPLIES) for queue in resumed))
                    await answered(2)
                    assert not home.running
                    cluster.bring_back()
                    await answered(3)
        finally:
            world.close()


async def answered(number: int) -> None:
    """Call as a program does: while the queue has no leader the broker refuses it, and it is sent again."""

    async def called() -> bool:
        try:
            return (await echo.with_options(reply_timeout=_ANSWERED_S).call(number))[1] == number
        except (BrokerBlocked, PublishUnconfirmed):
            return False

    await eventually(called, f"call {number} is answered", within_s=_ANSWERED_S, look_s=0.1)
