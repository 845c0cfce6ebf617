"""A cluster of RabbitMQ nodes on the loopback, which tests may take apart and put together again.

The nodes share a cookie and one `epmd`, which lives as long as the cluster: it tells them each other's ports. They
start together, and find each other by their list of nodes; one of RabbitMQ 4 that comes first waits minutes for the
others before it makes a cluster. A node that is silent for some 5 s counts as gone, and one that finds itself without
a majority pauses itself until there is one again (`pause_minority`), as RabbitMQ advises for three nodes.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from tests.support.rabbit.installation import SYSTEM
from tests.support.rabbit.node import RabbitNode
from tests.support.rabbit.ports import free_ports

TICK_S = 4
_PARTS = """\
cluster_partition_handling = pause_minority
cluster_formation.peer_discovery_backend = classic_config
"""
_ERLANG = f"+S 1:1 +sbwt none -kernel inet_dist_use_interface {{127,0,0,1}} -kernel net_ticktime {TICK_S}"


class ClusterNode(RabbitNode):
    """A node of a cluster. ``epmd_port``: where the `epmd` of all of them is."""

    def __init__(self, version: str, *, cookie: str, epmd_port: int) -> None:
        self.peers: Sequence[str] = ()
        self._cookie = cookie
        self._common_epmd_port = epmd_port
        super().__init__(version)

    def launch_epmd(self) -> subprocess.Popen[bytes]:
        """Start the `epmd` of the cluster; it outlives this node, and ends with this process."""
        return self._group(self._installation.command("epmd", "-port", str(self._epmd_port)))

    @property
    def erlang_arguments(self) -> str:
        """The arguments of its virtual machine."""
        return _ERLANG

    def _choose_ports(self) -> None:
        super()._choose_ports()
        self._epmd_port = self._common_epmd_port

    def _configuration(self) -> str:
        peers = (f"cluster_formation.classic_config.nodes.{n} = {name}\n" for n, name in enumerate(self.peers, 1))
        return super()._configuration() + _PARTS + "".join(peers)

    def _begin(self) -> None:
        path = self.folder / "home" / ".erlang.cookie"
        if not path.exists():
            path.write_text(self._cookie)
            path.chmod(0o400)


class RabbitCluster:
    """``nodes``: the nodes, each of which can be killed, paused, stopped and started. All methods block."""

    def __init__(self, version: str = SYSTEM, *, size: int = 3) -> None:
        (epmd_port,) = free_ports(1)
        cookie = uuid.uuid4().hex
        self.nodes = tuple(ClusterNode(version, cookie=cookie, epmd_port=epmd_port) for _ in range(size))
        for node in self.nodes:
            node.peers = tuple(each.name for each in self.nodes)
        self._epmd: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start all nodes, and wait until they are one cluster."""
        self._epmd = self.nodes[0].launch_epmd()
        _all_at_once(self.nodes)
        self.until_whole()

    def bring_back(self) -> None:
        """Resume and start what is not there, and wait until all nodes are one cluster again."""
        for node in self.nodes:
            node.resume()
        _all_at_once([node for node in self.nodes if not node.running])
        self.until_whole()

    def until_whole(self) -> None:
        """Wait until each node takes part and sees all others, and no queue lacks a leader."""
        for node in self.nodes:
            node.until(
                f"rabbit:is_running() andalso length(rabbit_mnesia:cluster_nodes(running)) =:= {len(self.nodes)}"
            )
        self.nodes[0].until(_ALL_LED)

    def leader_of(self, queue: str, vhost: str = "/") -> ClusterNode:
        """Return the node that leads a quorum queue."""
        names = {node.name: node for node in self.nodes}
        asked = next(node for node in self.nodes if node.running and not node.paused)
        resource = f'rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)'
        name = asked.eval(
            f"{{ok, Queue}} = rabbit_amqqueue:lookup({resource}), {{Name, Last}} = amqqueue:get_pid(Queue),"
            "case ra_leaderboard:lookup_leader(Name) of {_, Node} -> Node; _ -> Last end"
        )
        return names[name.strip("'")]

    def write_down(self) -> None:
        """Have each node write down at once what it would within seconds; see :meth:`RabbitNode.write_down`."""
        for node in self.nodes:
            node.write_down()

    def close(self) -> None:
        """Kill all of it; harmless twice."""
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None
        for node in self.nodes:
            node.close()


# ``members`` answers only where there is a leader.
_ALL_LED = (
    "lists:all(fun(Queue) -> case amqqueue:get_type(Queue) of rabbit_quorum_queue ->"
    " {ok, _, _} = ra:members(amqqueue:get_pid(Queue), 5000), true; _ -> true end end, rabbit_amqqueue:list())"
)


def _all_at_once(nodes: Sequence[ClusterNode]) -> None:
    with ThreadPoolExecutor(max(1, len(nodes))) as threads:
        for done in [threads.submit(node.start) for node in nodes]:
            done.result()
