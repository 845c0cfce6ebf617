"""A RabbitMQ node of the run's own, and a proxy between it and each member, so that one alone can be cut off.

Members have a user and a virtual host of their own, so that a permission can be taken away; what the run itself asks
goes straight to the node, as `guest`. The node is told by `erl_call`, in threads: the proxies need the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from taskq import TaskQ
from taskq.broker.amqp.ladder import LEVELS, UNROUTABLE, level_name
from taskq.broker.names import dead_queue
from tests.chaos.administrator import Administrator
from tests.chaos.fault import Fault
from tests.chaos.faults import clock, network, node, processes
from tests.chaos.faults.network import HEARTBEAT_S
from tests.chaos.program import QUEUES
from tests.chaos.shape import Shape
from tests.support.ladder import make_ladder
from tests.support.rabbit import SYSTEM, RabbitNode
from tests.support.tcpproxy import TcpProxy
from tests.support.waiting import eventually

USER, PASSWORD = "chaos", "chaos-password"
ALL, NONE = ".*", "^$"
_STARTS_S = 120.0
_GONE_S = 30.0  # until the broker has noticed that a process is gone that was behind a black hole, and more

# A queue that could not pass on what was due waits that long, and 3 minutes by default.
_ADVANCED = "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 2000}]}].\n"

T = TypeVar("T")


class RabbitSite:
    """Implements :class:`tests.chaos.world.Site` and :class:`tests.chaos.world.Rests`."""

    faults: tuple[Fault, ...] = (*processes.FAULTS, *network.FAULTS, *node.FAULTS, *clock.FAULTS)

    def __init__(self, folder: Path, version: str = SYSTEM, *, shape: Shape | None = None) -> None:
        self.folder = folder
        self.variables: Mapping[str, str] = {"TASKQ_HEARTBEAT": str(HEARTBEAT_S)}
        self.node = RabbitNode(version)
        self.proxies: dict[str, TcpProxy] = {}
        self._shape = shape or Shape()
        self._vhost = self._version = ""
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        (self.node.folder / "advanced.config").write_text(_ADVANCED)
        self._open.push_async_callback(asyncio.to_thread, self._end)
        await self.start()
        self._version = (await self.ask("rabbit_misc:version()")).strip('"')
        self._vhost = await self.tell(partial(self.node.new_vhost, "chaos-"))
        await self.tell(partial(self.node.add_user, USER, PASSWORD))
        await self.permit()
        for role in (*self._shape.worker_names, *self._shape.producer_names):
            self.proxies[role] = await self._open.enter_async_context(TcpProxy("127.0.0.1", self.node.port))
        await make_ladder(self.url(""))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    @property
    def name(self) -> str:
        return f"RabbitMQ {self._version}"

    @property
    def administrator(self) -> Administrator:
        """Who changes what is in the virtual host."""
        return Administrator(self.url(""))

    def url(self, role: str) -> str:
        """Return the node's own URL, or the proxy's of a role."""
        if not role:
            return self.node.url(self._vhost)
        return f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.proxies[role].port}/{self._vhost}"

    # What faults do.

    async def tell(self, order: Callable[[], T]) -> T:
        """Have a method of the node run in a thread; the proxies forward meanwhile."""
        return await asyncio.to_thread(order)

    async def ask(self, expression: str) -> str:
        """Have the node evaluate Erlang expressions."""
        return await asyncio.to_thread(self.node.eval, expression)

    async def start(self) -> float:
        """Start the node, wait until it is up, and return when it first answered a client."""
        starting = asyncio.create_task(self.tell(self.node.start))

        async def up() -> bool:
            return starting.done() or await self._answers()

        await eventually(up, "the node answers", within_s=_STARTS_S)
        answered = time.time()
        await starting
        return answered

    async def permit(self, configure: str = ALL, write: str = ALL, read: str = ALL) -> None:
        """Give the members' user these permissions, and no others."""
        arguments = _binaries(USER, self._vhost, configure, write, read, _BY)
        await self.ask(f"ok = rabbit_auth_backend_internal:set_permissions({arguments})")

    async def limit(self, queue: str, length: int) -> None:
        """Have a queue take no more than so many messages, by a policy."""
        definition = f'{{\\"max-length\\":{length},\\"overflow\\":\\"reject-publish\\"}}'
        pattern = f"^{queue}$".replace(".", "[.]")
        await self._policy("limit", pattern, definition)

    async def unlimit(self) -> None:
        """Take the limit away; harmless when there is none."""
        await self._no_policy("limit")

    async def consumers(self, queue: str) -> int:
        """Return how many consumers a queue has."""
        counted = await self.ask(f"case {self._lookup(queue)} of {{ok, Q}} -> rabbit_amqqueue:stat(Q); _ -> none end")
        return int(counted.strip("{}").split(",")[2]) if counted.startswith("{ok,") else 0

    async def total(self, queue: str) -> int:
        """Return how many messages a quorum queue holds, ready and unacknowledged; none when it is not there."""
        return int(await self.ask(f"case {self._lookup(queue)} of {{ok, Q}} -> {_TOTAL}; _ -> 0 end"))

    # What a run asks.

    async def heal(self) -> None:
        """Undo whatever a fault may have left, also one that was given up in its middle."""
        if not self.node.running:
            await self.start()
        await self.tell(self.node.resume)
        for proxy in self.proxies.values():
            proxy.flow()
        for alarm in (self.node.alarm_memory, self.node.alarm_disk):
            await self.tell(partial(alarm, False))
        await self.unlimit()
        await self.permit()
        await self.ask(node.LONG_ACKS)
        await self.administrator.move_unroutable()

    async def holds(self) -> str:
        """Say what waits or runs in work queues and on the ladder."""
        await self.administrator.move_unroutable()
        totals = {name: await self.total(name) for name in (*QUEUES, *_LADDER)}
        return ", ".join(f"{number} in {name}" for name, number in totals.items() if number)

    async def leftovers(self, app: TaskQ[object]) -> list[str]:
        """Return what is there beside the program's own queues and this run's connections, when all members are gone.

        A reply queue whose process was killed goes when its time is over. Here that is made short; a queue that still
        has a reader does not go.
        """
        found: list[str] = []

        async def nothing() -> bool:
            nonlocal found
            found = [*await self._strange_queues(), *await self._strangers()]
            return not found

        await self._policy("short", "^taskq[.]reply[.]", '{\\"expires\\":500}')
        try:
            await eventually(nothing, "", within_s=_GONE_S, look_s=0.5)
        except AssertionError:
            pass  # what was found is the answer
        await self._no_policy("short")
        held = await self.holds()
        return [*found, held] if held else found

    async def _strange_queues(self) -> list[str]:
        every = f"rabbit_amqqueue:list({_binaries(self._vhost)})"
        named = await self.ask(f"[binary_to_list(element(4, amqqueue:get_name(Q))) || Q <- {every}]")
        ours = {*QUEUES, *map(dead_queue, QUEUES), *_LADDER, "first", dead_queue("first")}
        return [f"queue {name}" for name in named.strip("[]").replace('"', "").split(",") if name and name not in ours]

    async def _strangers(self) -> list[str]:
        """Return the connections and channels of members."""
        asked = {"connections": "rabbit_networking:connection_info_all", "channels": "rabbit_channel:info_all"}
        counts = {
            what: int(await self.ask(f"length([1 || [{{user, User}}] <- {ask}([user]), User =:= {_binaries(USER)}])"))
            for what, ask in asked.items()
        }
        return [f"{number} {what} of members" for what, number in counts.items() if number]

    async def _policy(self, name: str, pattern: str, definition: str) -> None:
        arguments = _binaries(self._vhost, name, pattern, definition, "0", "queues", _BY)
        await self.ask(f"ok = rabbit_policy:parse_set({arguments})")

    async def _no_policy(self, name: str) -> None:
        await self.ask(f"rabbit_policy:delete({_binaries(self._vhost, name, _BY)})")

    def _lookup(self, queue: str) -> str:
        return f"rabbit_amqqueue:lookup(rabbit_misc:r({_binaries(self._vhost)}, queue, {_binaries(queue)}))"

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.node.port)
        except OSError:
            return False
        try:
            async with asyncio.timeout(1):
                writer.write(b"AMQP\x00\x00\x09\x01")
                return bool(await reader.read(8))
        except OSError:
            return False
        finally:
            writer.close()

    def _end(self) -> None:
        (self.folder / "node.log").write_text(self.node.log)
        self.node.close()


_BY = "the run"
_LADDER = (UNROUTABLE, *map(level_name, range(LEVELS)))
_TOTAL = (
    "(fun() -> {ok, {_, Number}, _} = ra:leader_query(amqqueue:get_pid(Q), fun rabbit_fifo:query_messages_total/1), "
    "Number end)()"
)


def _binaries(*texts: str) -> str:
    """Return texts as Erlang writes binaries."""
    return ", ".join(f'<<"{text}">>' for text in texts)
