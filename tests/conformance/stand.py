"""What the conformance tests know about each broker: how to open it, and what only some of them can do.

A broker is added by a class here and its name in ``STANDS``. Tests see the contract only.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from taskq.broker.amqp.broker import AmqpBroker
from taskq.broker.names import new_subscription_queue
from taskq.broker.protocol import Broker, Consumer, Delivery, Outgoing
from taskq.broker.sqlite import SqliteBroker
from taskq.clock import Clock, SystemClock
from taskq.tasks.exchanges import Binding, Overflow, TemporaryQueue
from taskq.tasks.queues import Queue
from taskq.wire.ids import new_message_id
from taskq.wire.message import Message
from tests.support import rabbit
from tests.support.ladder import make_ladder

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 15.0


class Stand:
    """One broker under test. All that is opened here is closed with the test."""

    survives_processes = False
    """Whether its messages outlive this process, so that other processes can take part."""

    late_under_load_s = 0.15
    """How late a delay may end among a thousand that end within four seconds; RabbitMQ has many steps for each."""

    embedded = True
    """Whether its time is that of the clock it is opened with, and a settle one transaction."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._open = AsyncExitStack()

    async def open(self, clock: Clock | None = None, *queues: str | Queue) -> Broker:
        """Open one more broker, with these queues declared."""
        broker = await self._open.enter_async_context(self.new(clock))
        await broker.declare([Queue(queue) if isinstance(queue, str) else queue for queue in queues])
        return broker

    def new(self, clock: Clock | None = None) -> Broker:
        """Return a broker that is not open."""
        raise NotImplementedError

    async def prepare_delays(self) -> None:
        """Do what the first delay on a new broker does besides: make the ladder, which takes a second."""

    def provokes(self, complaint: str) -> None:
        """Allow a word in the complaints of the broker's log, which otherwise fail the test."""

    async def holding_process(self, queue: str, *, count: int) -> HoldingProcess:
        """Start a process that holds ``count`` deliveries of ``queue`` and settles none."""
        return await self._held_by(HoldingProcess(self.url, queue, count))

    async def subscribed_process(self, exchange: str, key: str = "") -> HoldingProcess:
        """Start a process that has a temporary queue at ``exchange``."""
        return await self._held_by(HoldingProcess(self.url, new_subscription_queue(), 0, exchange, key))

    async def _held_by(self, holder: HoldingProcess) -> HoldingProcess:
        self._open.callback(holder.kill)
        await asyncio.to_thread(holder.wait_until_it_holds)
        return holder

    async def close(self) -> None:
        await self._open.aclose()


class SqliteStand(Stand):
    """The embedded broker on a file."""

    survives_processes = True

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder / 'conformance.db'}")

    def new(self, clock: Clock | None = None) -> Broker:
        return SqliteBroker(self.url, clock=clock or SystemClock())


class MemoryStand(Stand):
    """The embedded broker in memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"memory://{uuid.uuid4()}")

    def new(self, clock: Clock | None = None) -> Broker:
        return SqliteBroker(self.url, clock=clock or SystemClock())


def _amqp(version: str) -> Callable[[Path], Stand]:
    return lambda folder: AmqpStand(version)


class AmqpStand(Stand):
    """RabbitMQ: a virtual host of the test's own on the node that the tests share.

    A clock that a test moves does not move the broker's. What the test made the broker complain about fails it, but
    for looking at queues that are not there, which is how RabbitMQ is asked whether they are.
    """

    survives_processes = True
    embedded = False
    late_under_load_s = 1.5

    def __init__(self, version: str) -> None:
        self._rabbit = rabbit.shared(version)
        # RabbitMQ is asked whether a queue exists by an operation that fails when it does not.
        self._provoked = ["not_found"]
        self._since = self._rabbit.log_position()
        super().__init__(self._rabbit.new_vhost())

    def new(self, clock: Clock | None = None) -> Broker:
        return AmqpBroker(self.url, clock=clock or SystemClock())

    async def close(self) -> None:
        await super().close()
        self._rabbit.drop_vhost(self.url)
        problems = self._rabbit.problems_since(self._since)
        assert not [each for each in problems if not any(word in each for word in self._provoked)]

    async def prepare_delays(self) -> None:
        await make_ladder(self.url)

    def provokes(self, complaint: str) -> None:
        self._provoked.append(complaint)


EMBEDDED: dict[str, Callable[[Path], Stand]] = {"sqlite": SqliteStand, "memory": MemoryStand}
STANDS = EMBEDDED | {rabbit.label(version): _amqp(version) for version in rabbit.brokers()}
LASTING = {name: stand for name, stand in STANDS.items() if stand is not MemoryStand}


class HoldingProcess:
    """A real process that takes deliveries, until it is killed. With an exchange, its queue is a temporary one."""

    def __init__(self, url: str, queue: str, count: int, *exchange_and_key: str) -> None:
        command = [sys.executable, "-m", "tests.conformance.holder", url, queue, str(count), *exchange_and_key]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def wait_until_it_holds(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "holding\n"

    def kill(self) -> None:
        """SIGKILL it; harmless twice."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Catch:
    """Collects the deliveries of a consumer."""

    def __init__(self) -> None:
        self.all: list[Delivery] = []
        self.times: list[float] = []
        self.most_open = 0
        self.open: set[int] = set()
        self._arrived: asyncio.Queue[Delivery] = asyncio.Queue()

    def __call__(self, delivery: Delivery) -> None:
        self.all.append(delivery)
        self.times.append(time.time())
        self.open.add(id(delivery))
        self.most_open = max(self.most_open, len(self.open))
        self._arrived.put_nowait(delivery)

    async def next(self, within_s: float = 10.0) -> Delivery:
        """Return the next delivery."""
        async with asyncio.timeout(within_s):
            return await self._arrived.get()

    async def take(self, count: int, within_s: float = 20.0) -> list[Delivery]:
        """Return the next ``count`` deliveries."""
        async with asyncio.timeout(within_s):
            return [await self._arrived.get() for _ in range(count)]

    async def settled(self) -> bytes:
        """Settle the next delivery and return its body."""
        delivery = await self.next()
        self.open.discard(id(delivery))
        await delivery.settle()
        return delivery.message.body

    @property
    def empty(self) -> bool:
        return self._arrived.empty()


def message(body: bytes = b"{}", **properties: object) -> Message:
    return Message(body=body, message_id=new_message_id(), **properties)  # type: ignore[arg-type]


def to(queue: str, body: bytes = b"{}", *, not_before: float | None = None, mandatory: bool = True) -> Outgoing:
    return Outgoing(message(body), queue, not_before=not_before, mandatory=mandatory)


def through(
    exchange: str, key: str = "", body: bytes = b"{}", *, mandatory: bool = False, **headers: object
) -> Outgoing:
    """A message for an exchange."""
    return Outgoing(message(body, headers=headers), key, mandatory=mandatory, exchange=exchange)


def temporary(
    *bound: tuple[str, str], limit: int = 1_000, overflow: Overflow = "drop-head", label: str = "test"
) -> TemporaryQueue:
    """A temporary queue, bound to these exchanges by these keys."""
    name = new_subscription_queue()
    bindings = tuple(Binding(exchange=exchange, queue=name, key=key) for exchange, key in bound)
    return TemporaryQueue(name=name, label=label, bindings=bindings, limit=limit, overflow=overflow)


async def publish(broker: Broker, *outgoing: Outgoing) -> None:
    """Publish, in order, and wait for all confirmations."""
    await asyncio.gather(*[broker.publish(each, timeout_s=TIMEOUT_S) for each in outgoing])


async def consuming(broker: Broker, queue: str, *, prefetch: int = 1) -> tuple[Catch, Consumer]:
    catch = Catch()
    return catch, await broker.consume(queue, prefetch=prefetch, deliver=catch)


async def subscribed(broker: Broker, queue: TemporaryQueue, *, prefetch: int = 1) -> tuple[Catch, Consumer]:
    catch = Catch()
    return catch, await broker.subscribe(queue, prefetch=prefetch, deliver=catch)


async def bodies(broker: Broker, *queues: str) -> list[list[bytes]]:
    """Return what waits in each queue."""
    return [[each.body for each in await broker.inspector.browse(queue, limit=99)] for queue in queues]


async def turnover(broker: Broker) -> None:
    """Return when the broker has done all that was asked of it before: it answers in order."""
    for _ in range(3):
        await broker.inspector.queues()
        await asyncio.sleep(0)  # also where there is no queue to ask for
