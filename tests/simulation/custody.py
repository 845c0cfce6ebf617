"""Who has which message, as the consumers see it: the contract of the broker, checked at each delivery and settle.

A message that comes back has a higher number of redeliveries. So each delivery of a message has a number of its own,
and a settle may be done only for the highest one that there ever was: whoever has a lower one has lost it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from taskq.broker.protocol import Delivery, Outgoing, Settlement
from taskq.broker.sqlite.broker import SqliteBroker
from taskq.broker.sqlite.consumer import SqliteConsumer
from taskq.wire.message import Message
from tests.simulation.process import SimulatedProcess
from tests.simulation.world import World

OWN = "taskq."
"""How the names of taskq's own queues begin."""
_EXACT_S = 2e-6  # to which the wall clock can be read


@dataclass(slots=True)
class _Life:
    """Of one message: by which processes it was taken, under which number, and which of them settled it."""

    takers: dict[int, int] = field(default_factory=dict)
    done: int | None = None


class Custody:
    """All messages of a simulation, by their ids.

    ``taken``: who was handed a job, by its id, and when. ``delays``: of jobs that have one, by their ids, with the
    instant at which they were wanted. ``etas``: until when (wall clock) they may not run, as they were published.
    ``unsettled``: what each process was handed and has not heard to be settled or lost.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._complain = world.complain
        self._lives: dict[str, _Life] = defaultdict(_Life)
        self._due: dict[str, float] = {}
        self.taken: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.delays: dict[str, tuple[float, float]] = {}
        self.etas: dict[str, float] = {}
        self.unsettled: dict[int, set[int]] = defaultdict(set)

    def sent(self, outgoing: Outgoing) -> None:
        """A message was handed to the broker, by itself or in the place of another one."""
        if outgoing.not_before is not None:
            self._due[outgoing.message.message_id or ""] = outgoing.not_before

    def published(self, outgoing: Outgoing) -> None:
        """A producer published a job, a reply, or a job again."""
        job = outgoing.message.correlation_id or ""
        if job in self.delays and not outgoing.queue.startswith(OWN):
            wanted_at, delay = self.delays[job]
            earliest, latest = self._world.walls_since(wanted_at)
            eta = outgoing.not_before
            if eta is None or not earliest - _EXACT_S <= eta - delay <= latest + _EXACT_S:
                self._complain(f"{job}: published for {eta}, and was to wait for {delay} s")
            else:
                self.etas[job] = min(eta, self.etas.get(job, eta))
        self.sent(outgoing)

    def take(self, message: Message, redeliveries: int, pid: int, now: float) -> None:
        """A consumer was handed a message."""
        life = self._lives[message.message_id or ""]
        if redeliveries in life.takers:
            other = life.takers[redeliveries]
            self._complain(f"{message.correlation_id}: one delivery for two consumers, {other} and {pid}")
        if life.done is not None and redeliveries > life.done:
            self._complain(f"{message.correlation_id}: delivered to {pid} though it was settled")
        due = self._due.get(message.message_id or "")
        if due is not None and self._world.reached(due - _EXACT_S) > now:
            self._complain(f"{message.correlation_id}: delivered to {pid} before its time")
        if life.takers:
            self._world.faults.taken_over(life.takers[max(life.takers)])
        life.takers[redeliveries] = pid
        self.taken[message.correlation_id or ""].append((pid, now))

    def settle(self, message: Message, redeliveries: int, pid: int) -> None:
        """A settle was done."""
        life = self._lives[message.message_id or ""]
        if life.done is not None:
            self._complain(f"{message.correlation_id}: settled twice, the second time by {pid}")
        if redeliveries < max(life.takers):
            self._complain(f"{message.correlation_id}: settled by {pid}, which had lost it")
        life.done = redeliveries


class WatchedDelivery:
    """Implements :class:`taskq.broker.protocol.Delivery` over another one, and tells the custody."""

    def __init__(self, delivery: Delivery, consumer: WatchedConsumer) -> None:
        self._delivery = delivery
        self._consumer = consumer
        self._kept = False
        self.settling = False

    @property
    def message(self) -> Message:
        return self._delivery.message

    @property
    def queue(self) -> str:
        return self._delivery.queue

    @property
    def redeliveries(self) -> int:
        return self._delivery.redeliveries

    async def settle(self, replacements: Sequence[Outgoing] = (), *, keep_slot: bool = False) -> Settlement:
        consumer = self._consumer
        again, self.settling = self.settling, True
        if not keep_slot:
            consumer.open.discard(id(self))
        for each in replacements:
            consumer.custody.sent(each)
        try:
            settlement = await self._delivery.settle(replacements, keep_slot=keep_slot)
        except Exception:
            if not again:
                self.settling = False
                consumer.open.add(id(self))
            raise
        consumer.custody.unsettled[consumer.process.pid].discard(id(self))
        if settlement is Settlement.DONE and consumer.process.alive:
            consumer.custody.settle(self.message, self.redeliveries, consumer.process.pid)
        return settlement

    def release_slot(self) -> None:
        self._consumer.open.discard(id(self))
        self._delivery.release_slot()


class WatchedConsumer:
    """What hands deliveries on."""

    def __init__(self, process: SimulatedProcess, custody: Custody, prefetch: int, deliver: Callable[[Delivery], None]):
        self.process = process
        self.custody = custody
        self.open: set[int] = set()
        self._prefetch = prefetch
        self._deliver = deliver
        self._all: list[WatchedDelivery] = []

    def __call__(self, delivery: Delivery) -> None:
        process = self.process
        message = delivery.message
        process.world.note(f"{process.name}: takes {message.correlation_id}, redelivered {delivery.redeliveries} times")
        self.custody.take(message, delivery.redeliveries, process.pid, process.world.now)
        watched = WatchedDelivery(delivery, self)
        self.open.add(id(watched))
        self.custody.unsettled[process.pid].add(id(watched))
        self._all.append(watched)  # so that no other one gets its id
        if len(self.open) > self._prefetch:
            process.world.complain(f"{process.name}: holds {len(self.open)} deliveries with prefetch {self._prefetch}")
        self._deliver(watched)


class WatchedBroker(SqliteBroker):
    """The embedded broker of a simulated process."""

    process: SimulatedProcess
    custody: Custody

    def publish(self, outgoing: Outgoing, *, timeout_s: float) -> asyncio.Future[None]:
        self.custody.published(outgoing)
        return super().publish(outgoing, timeout_s=timeout_s)

    async def consume(self, queue: str, *, prefetch: int, deliver: Callable[[Delivery], None]) -> SqliteConsumer:
        watched = WatchedConsumer(self.process, self.custody, prefetch, deliver)
        return await super().consume(queue, prefetch=prefetch, deliver=watched)
