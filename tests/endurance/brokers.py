"""The brokers that a run may be on: a node of its own, or a file; and what is counted in each."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from tests.support import rabbit
from tests.support.rabbit import RabbitNode
from tests.support.tcpproxy import TcpProxy

_COUNTED = """
VHost = <<"/">>,
All = rabbit_amqqueue:list(VHost),
Ready = fun(Queue) -> case catch rabbit_amqqueue:stat(Queue) of {ok, Number, _} -> Number; _ -> 0 end end,
Left = fun(Queue) -> case {amqqueue:get_name(Queue), catch rabbit_amqqueue:stat(Queue)} of
{{resource, _, _, <<"taskq.reply.", _/binary>>}, {ok, _, 0}} -> true; _ -> false end end,
{Expiring, Queues} = lists:partition(Left, All),
{length(Expiring), length(Queues), length(rabbit_binding:list(VHost)), length(rabbit_exchange:list(VHost)),
length(rabbit_networking:local_connections()), length(rabbit_channel:list_local()),
length(rabbit_amqqueue:consumers_all(VHost)), lists:sum([Ready(Queue) || Queue <- Queues]),
lists:sum([Number || [{_, Number}] <- rabbit_channel:info_all([messages_unacknowledged])])}
"""
COUNTED = ("queues", "bindings", "exchanges", "connections", "channels", "consumers", "messages", "unacked messages")
_EXPIRING = "reply queues of apps that are gone"  # they closed while the broker was away; it deletes these 10 min later
_TABLES = ("process", "queue", "consumer", "message", "exchange", "binding")


@dataclass(frozen=True, slots=True)
class Ground:
    """What a run stands on. ``proxy`` and ``node``: RabbitMQ and the way to it; ``path``: the file of the other."""

    url: str
    census: Callable[[], dict[str, float]]
    proxy: TcpProxy | None = None
    node: RabbitNode | None = None
    path: Path | None = None


@asynccontextmanager
async def on_rabbitmq(node: RabbitNode) -> AsyncIterator[Ground]:
    """Stand on a node that nobody else uses, behind a proxy."""
    async with TcpProxy("127.0.0.1", node.port) as proxy:
        url = f"amqp://guest:guest@127.0.0.1:{proxy.port}/%2F"
        yield Ground(url, lambda: in_rabbitmq(node), proxy=proxy, node=node)


def on_file(folder: Path) -> Ground:
    """Stand on a file in ``folder``."""
    path = folder / "endurance.db"
    return Ground(f"sqlite:///{path}", lambda: in_file(path), path=path)


def in_rabbitmq(node: RabbitNode) -> dict[str, float]:
    """Count what is on a node."""
    counted = node.eval(_COUNTED.replace("\n", " ").strip())
    numbers = [float(number) for number in counted.strip("{}").split(",")]
    return {f"broker's {name}": number for name, number in zip((_EXPIRING, *COUNTED), numbers, strict=True)}


def in_file(path: Path) -> dict[str, float]:
    """Count the rows of every table, and the size of the file and of its log."""
    with closing(sqlite3.connect(path)) as db:
        counted = {
            f"rows of {table}": float(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in _TABLES
        }
    for name, end in (("file", ""), ("log", "-wal")):
        counted[f"{name} KiB"] = Path(f"{path}{end}").stat().st_size / 1024
    return counted


def own_node(version: str) -> RabbitNode:
    """Return a node that runs, to be closed by who asked for it."""
    node = RabbitNode(version)
    node.start()
    return node


def versions() -> list[str]:
    """The versions of RabbitMQ that tests run on."""
    return rabbit.versions()
