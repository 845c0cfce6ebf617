"""The contract of a broker as a model: what lies in which queue, who holds what, and what may be observed next. Pure.

The model follows :mod:`taskq.broker.protocol` and knows no broker; what a broker is free to do (which of several
consumers gets a message, the order of what was disturbed) is free here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Literal


class ContractBroken(AssertionError):
    """A broker did what the contract does not allow, or did not what it promises."""


@dataclass(eq=False, slots=True)
class Kept:
    """A message. ``disturbed``: no order is promised for it. ``looks``: how often it was taken to be looked at."""

    body: bytes
    number: int
    priority: int = 0
    due: float | None = None
    redeliveries: int = 0
    looks: int = 0
    disturbed: bool = False
    holder: ModelConsumer | None = None


@dataclass(eq=False, slots=True)
class ModelQueue:
    """A queue. ``limit``: how often a message may come back; ``counts``: whether the broker counts beyond one."""

    name: str
    max_priority: int = 0
    limit: int = 20
    counts: bool = True
    messages: dict[bytes, Kept] = field(default_factory=dict)
    dead: list[bytes] = field(default_factory=list)
    consumers: list[ModelConsumer] = field(default_factory=list)

    def ready(self, now: float) -> list[Kept]:
        """Return the messages that may be delivered, the oldest first."""
        found = [
            each for each in self.messages.values() if each.holder is None and (each.due is None or each.due <= now)
        ]
        return sorted(found, key=lambda each: each.number)


@dataclass(eq=False, slots=True)
class ModelConsumer:
    """A consumer. ``kept`` slots belong to deliveries that are settled and not yet released."""

    queue: ModelQueue
    prefetch: int
    stopped: bool = False
    held: list[Kept] = field(default_factory=list)
    kept: int = 0

    @property
    def free(self) -> int:
        """How many deliveries more it may get."""
        return 0 if self.stopped else self.prefetch - len(self.held) - self.kept


class Model:
    """Queues by name, and exchanges with their bindings: ``(exchange, queue, key)``."""

    def __init__(self, queues: list[ModelQueue], kinds: dict[str, Literal["fanout", "direct", "topic"]]) -> None:
        self.queues = {queue.name: queue for queue in queues}
        self.kinds = kinds
        self.bindings: set[tuple[str, str, str]] = set()
        self._numbers = count()

    # What the test did.

    def put(self, queue: str, body: bytes, *, priority: int = 0, due: float | None = None, moved: bool = False) -> None:
        """A message was published; ``moved``: it replaces another one."""
        target = self.queues[queue]
        priority = min(priority, target.max_priority)
        disturbed = moved or due is not None
        target.messages[body] = Kept(body, next(self._numbers), priority, due, disturbed=disturbed)

    def routes(self, exchange: str, key: str) -> set[str]:
        """Return the queues that an exchange passes a message to."""
        kind = self.kinds[exchange]
        return {
            queue
            for name, queue, bound in self.bindings
            if name == exchange and (kind == "fanout" or (bound == key if kind == "direct" else _fits(bound, key)))
        }

    def take(self, consumer: ModelConsumer, body: bytes, redeliveries: int, now: float) -> Kept:
        """A delivery was handed over."""
        queue = consumer.queue
        message = queue.messages.get(body)
        if message is None:
            raise ContractBroken(f"{queue.name} delivered {body!r}, which is not there")
        if message.holder is not None:
            raise ContractBroken(f"{queue.name} delivered {body!r} to two consumers at a time")
        if message.due is not None and now < message.due:
            raise ContractBroken(f"{queue.name} delivered {body!r} {message.due - now:.3f} s too early")
        if consumer.free < 1:
            raise ContractBroken(f"{queue.name} delivered {body!r} to a consumer without a free slot")
        self._check_redeliveries(queue, message, redeliveries)
        self._check_order(queue, message, now)
        message.holder, message.due = consumer, None
        consumer.held.append(message)
        return message

    def settle(self, message: Kept) -> None:
        """A delivery was settled; its slot is free."""
        consumer = message.holder
        assert consumer is not None
        consumer.held.remove(message)
        del consumer.queue.messages[message.body]

    def close(self, consumer: ModelConsumer) -> None:
        """A consumer was closed: what it held comes back, or dies."""
        queue = consumer.queue
        queue.consumers.remove(consumer)
        for message in consumer.held:
            message.holder, message.disturbed = None, True
            if message.redeliveries >= queue.limit:
                del queue.messages[message.body]
                queue.dead.append(message.body)
            else:
                message.redeliveries += 1
        consumer.held.clear()

    # What has to be.

    def owed(self, now: float, late_s: float) -> Iterator[str]:
        """Say for each queue with a free consumer that it has messages which should have been delivered by now."""
        for queue in self.queues.values():
            ready = queue.ready(now - late_s)
            free = sum(consumer.free for consumer in queue.consumers)
            if ready and free:
                yield f"{queue.name} has {len(ready)} messages for {free} free slots"

    def _check_redeliveries(self, queue: ModelQueue, message: Kept, seen: int) -> None:
        least, most = message.redeliveries, message.redeliveries + message.looks
        if not queue.counts:
            least, most = min(least, 1), min(most, 1)
        if not least <= seen <= most:
            raise ContractBroken(f"{queue.name}: {message.body!r} came back {least} to {most} times, not {seen}")

    def _check_order(self, queue: ModelQueue, message: Kept, now: float) -> None:
        if message.disturbed or len(queue.consumers) > 1:
            return
        for other in queue.ready(now):
            earlier = other.number < message.number and other.priority >= message.priority
            if earlier and not other.disturbed:
                raise ContractBroken(f"{queue.name} delivered {message.body!r} before {other.body!r}")


def _fits(pattern: str, key: str) -> bool:
    """AMQP's topics, word by word, without any thought of speed."""
    return _fit(pattern.split("."), key.split("."))


def _fit(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_fit(pattern[1:], words[taken:]) for taken in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _fit(pattern[1:], words[1:])
