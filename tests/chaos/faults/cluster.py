"""Faults of a cluster: nodes killed, stopped, paused and cut off from their clients, one or two of three.

While two nodes live all has to go on, so that recovery counts from the loss; without a majority it waits, and recovery
counts from its return. Every fault ends when all nodes are one cluster again.
"""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import TYPE_CHECKING

from tests.chaos.fault import Fault, Struck
from tests.chaos.faults.network import HEARTBEAT_S
from tests.chaos.program import QUEUES
from tests.chaos.world import World
from tests.support.ledger.records import NODE_LOST
from tests.support.rabbit.cluster import ClusterNode

if TYPE_CHECKING:
    from tests.chaos.sites.cluster import ClusterSite

_NODE = frozenset({"broker"})
_ALL = frozenset({"broker", "network", "worker", "producer"})
_NOTICED_S = 2.0 * HEARTBEAT_S  # by a client, of a node that does not answer any more
_ECHO_S = 0.3  # what had arrived is begun in that time
_RECOVERS_S = 5.0


async def kill_leader(world: World[ClusterSite], rng: Random) -> Struck:
    """SIGKILL the node that leads a work queue, and start it again."""
    leader = await asyncio.to_thread(world.site.leader_of, rng.choice(QUEUES))
    return await _killed(world, rng, f"{NODE_LOST}: leader SIGKILL", [leader])


async def kill_node(world: World[ClusterSite], rng: Random) -> Struck:
    """SIGKILL any node, and start it again."""
    return await _killed(world, rng, f"{NODE_LOST}: SIGKILL", [rng.choice(world.site.cluster.nodes)])


async def kill_node_of_clients(world: World[ClusterSite], rng: Random) -> Struck:
    """SIGKILL the node that most clients are connected to, and start it again."""
    nodes: tuple[ClusterNode, ...] = world.site.cluster.nodes
    numbers = await asyncio.gather(*(asyncio.to_thread(_connections, node) for node in nodes))
    most = max(zip(numbers, range(len(nodes)), strict=True))
    return await _killed(world, rng, f"{NODE_LOST}: clients' node SIGKILL", [nodes[most[1]]])


async def kill_two(world: World[ClusterSite], rng: Random) -> Struck:
    """SIGKILL two nodes at once: the third alone takes nothing and gives nothing, until one more is there."""
    gone = rng.sample(world.site.cluster.nodes, 2)
    with world.fault(f"{NODE_LOST}: two SIGKILL"):
        await _kill(gone)
        await world.hold(rng.uniform(0.5, 2.0))
        healed_at = min(await asyncio.gather(*map(_started, gone)))
        await asyncio.to_thread(world.site.cluster.until_whole)
    return Struck(healed_at=healed_at)


async def restart_node(world: World[ClusterSite], rng: Random) -> Struck:
    """Stop a node in order and start it again, as for an upgrade."""
    node = rng.choice(world.site.cluster.nodes)
    with world.fault(f"{NODE_LOST}: restart"):
        await asyncio.to_thread(node.stop)
        stopped_at = time.time()
        await asyncio.to_thread(world.site.cluster.bring_back)
    return Struck(healed_at=stopped_at)


async def pause_node(world: World[ClusterSite], rng: Random) -> Struck:
    """SIGSTOP a node for a moment that the others do not notice."""
    node = rng.choice(world.site.cluster.nodes)
    with world.fault("node SIGSTOP"):
        node.pause()
        await world.hold(rng.uniform(0.3, 2.0))
        node.resume()
    return Struck(healed_at=time.time())


async def pause_node_for_long(world: World[ClusterSite], rng: Random) -> Struck:
    """SIGSTOP a node until the others have noticed and everybody gets on without it.

    When it goes on, it takes the others for those that were away, and Mnesia does not heal that: it is restarted, as
    RabbitMQ's guide to partitions says.
    """
    node = rng.choice(world.site.cluster.nodes)
    with world.fault(f"{NODE_LOST}: SIGSTOP for long"):
        node.pause()
        paused_at = time.time()
        others = [each for each in world.site.cluster.nodes if each is not node]
        await asyncio.to_thread(others[0].until, f"not lists:member('{node.name}', nodes())")
        await world.until_all_get_on(paused_at + _NOTICED_S)
        node.resume()
        await world.hold(rng.uniform(0.0, 1.0))
        await asyncio.to_thread(node.stop)
        await asyncio.to_thread(world.site.cluster.bring_back)
    return Struck(healed_at=time.time())


async def cut_off_node(world: World[ClusterSite], rng: Random) -> Struck:
    """Reset all connections of clients to a node, and refuse new ones for a while."""
    way = rng.choice(world.site.ways)
    with world.fault("node cut off"):
        await way.refuse()
        way.reset()
        cut_at = time.time()
        await world.hold(rng.uniform(0.3, 2.0))
        await way.accept_again()
    return Struck(healed_at=cut_at, echo_s=_ECHO_S)


async def lose_way_to_node(world: World[ClusterSite], rng: Random) -> Struck:
    """Lose all that clients and a node send each other, until everybody has found another node."""
    way = rng.choice(world.site.ways)
    with world.fault("node in a black hole"):
        way.black_hole()
        lost_at = time.time()
        await world.until_all_get_on(lost_at + _NOTICED_S)
        way.flow()
    return Struck(healed_at=lost_at + _NOTICED_S)


async def _killed(world: World[ClusterSite], rng: Random, what: str, nodes: list[ClusterNode]) -> Struck:
    with world.fault(what):
        await _kill(nodes)
        killed_at = time.time()
        await world.hold(rng.uniform(0.0, 1.0))
        await asyncio.to_thread(world.site.cluster.bring_back)
    return Struck(healed_at=killed_at, echo_s=_ECHO_S)


async def _kill(nodes: list[ClusterNode]) -> None:
    await asyncio.gather(*(asyncio.to_thread(node.write_down) for node in nodes))
    for node in nodes:
        node.kill()


async def _started(node: ClusterNode) -> float:
    await asyncio.to_thread(node.start)
    return time.time()


def _connections(node: ClusterNode) -> int:
    return int(node.eval("length(rabbit_networking:local_connections())"))


FAULTS = (
    Fault(name="leader's node SIGKILL", strike=kill_leader, breaks=_NODE, weight=3, bound_s=_RECOVERS_S),
    Fault(name="any node SIGKILL", strike=kill_node, breaks=_NODE, weight=1, bound_s=_RECOVERS_S),
    Fault(name="clients' node SIGKILL", strike=kill_node_of_clients, breaks=_NODE, weight=2, bound_s=_RECOVERS_S),
    Fault(name="two nodes SIGKILL", strike=kill_two, breaks=_NODE, weight=2, bound_s=_RECOVERS_S),
    Fault(name="node restarted in order", strike=restart_node, breaks=_NODE, weight=2, bound_s=_RECOVERS_S),
    Fault(name="node SIGSTOP", strike=pause_node, breaks=_NODE, weight=3, bound_s=_RECOVERS_S),
    Fault(name="node SIGSTOP until others noticed", strike=pause_node_for_long, breaks=_ALL, bound_s=_RECOVERS_S),
    Fault(name="node cut off from clients", strike=cut_off_node, breaks=frozenset({"network"}), weight=3, bound_s=1.0),
    Fault(
        name="node in a black hole for clients",
        strike=lose_way_to_node,
        breaks=_ALL,
        weight=2,
        bound_s=_RECOVERS_S,
    ),
)
