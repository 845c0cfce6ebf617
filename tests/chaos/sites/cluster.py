"""Three RabbitMQ nodes, each behind a proxy of its own; every member knows all of them, each in another order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Self

from tests.chaos.administrator import Administrator
from tests.chaos.fault import Fault
from tests.chaos.faults import clock, cluster, processes
from tests.chaos.faults.network import HEARTBEAT_S
from tests.chaos.sites.rabbit import PASSWORD, USER, RabbitSite
from tests.support.ladder import make_ladder
from tests.support.rabbit import SYSTEM
from tests.support.rabbit.cluster import ClusterNode, RabbitCluster
from tests.support.tcpproxy import TcpProxy

# A queue that could not pass on what was due waits that long, and 3 minutes by default.
_ADVANCED = "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 2000}]}].\n"


class ClusterSite(RabbitSite):
    """Implements :class:`tests.chaos.world.Site` and :class:`tests.chaos.world.Rests`; ``ways``: a proxy for each node.

    ``cluster``: one that is started, and stays so; else it has one of its own.
    What the run asks, it asks a node that can answer.
    """

    faults: tuple[Fault, ...] = (*processes.FAULTS, *cluster.FAULTS, *clock.FAULTS)

    def __init__(self, folder: Path, version: str = SYSTEM, *, cluster: RabbitCluster | None = None) -> None:
        self.folder = folder
        self.variables: Mapping[str, str] = {"TASKQ_HEARTBEAT": str(HEARTBEAT_S)}
        self.cluster = cluster or new_cluster(version)
        self._its_own = cluster is None
        self.ways: tuple[TcpProxy, ...] = ()
        self._vhost = self._version = ""
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._open.push_async_callback(asyncio.to_thread, self._end)
        if self._its_own:
            await asyncio.to_thread(self.cluster.start)
        self._version = (await self.ask("rabbit_misc:version()")).strip('"')
        self._vhost = await self.tell(partial(self.node.new_vhost, "chaos-"))
        await self.ask(
            f'catch rabbit_auth_backend_internal:delete_user(<<"{USER}">>, <<"the run">>)'
        )  # of a run before
        await self.tell(partial(self.node.add_user, USER, PASSWORD))
        await self.permit()
        proxies = [TcpProxy("127.0.0.1", node.port) for node in self.cluster.nodes]
        self.ways = tuple([await self._open.enter_async_context(proxy) for proxy in proxies])
        await make_ladder(self.url(""))
        return self

    @property
    def name(self) -> str:
        return f"{super().name}, a cluster of three"

    @property
    def node(self) -> ClusterNode:
        """One that can answer."""
        return next(node for node in self.cluster.nodes if node.running and not node.paused)

    @property
    def administrator(self) -> Administrator:
        """It knows one node, since a plain client has one host."""
        return Administrator(self.node.url(self._vhost))

    def url(self, role: str) -> str:
        """Return a URL with all hosts; which one comes first depends on the number in the role's name."""
        if not role:
            hosts = ",".join(node.host for node in self.cluster.nodes)
            return f"amqp://guest:guest@{hosts}/{self._vhost}"
        first = int(role.rpartition("-")[2]) % len(self.ways)
        hosts = ",".join(f"127.0.0.1:{way.port}" for way in (*self.ways[first:], *self.ways[:first]))
        return f"amqp://{USER}:{PASSWORD}@{hosts}/{self._vhost}"

    def leader_of(self, queue: str) -> ClusterNode:
        """Return the node that leads a work queue. It blocks."""
        return self.cluster.leader_of(queue, self._vhost)

    async def heal(self) -> None:
        """Let all connections through, and have all nodes back."""
        for way in self.ways:
            way.flow()
            await way.refuse()
            await way.accept_again()
        await asyncio.to_thread(self.cluster.bring_back)
        await self.administrator.move_unroutable()

    def _end(self) -> None:
        for number, node in enumerate(self.cluster.nodes):
            (self.folder / f"node-{number}.log").write_text(node.log)
        if self._its_own:
            self.cluster.close()


def new_cluster(version: str) -> RabbitCluster:
    """Return a cluster as runs want it, not yet started."""
    cluster = RabbitCluster(version)
    for node in cluster.nodes:
        (node.folder / "advanced.config").write_text(_ADVANCED)
    return cluster
