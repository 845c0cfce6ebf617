"""What random programs stand on: a broker under test, and what its consumers and inboxes have received."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from taskq.broker.protocol import Consumer, Delivery, Inbox
from taskq.wire.message import Message
from tests.conformance.model import ModelConsumer
from tests.conformance.stand import Stand

T = TypeVar("T")


@dataclass(eq=False)
class Taker:
    """A consumer of the broker beside that of the model. ``arrived`` is what the model has not seen yet."""

    model: ModelConsumer
    broker: int
    arrived: list[tuple[Delivery, float]] = field(default_factory=list)
    consumer: Consumer | None = None

    def __call__(self, delivery: Delivery) -> None:
        self.arrived.append((delivery, time.time()))


@dataclass(eq=False)
class Letters:
    """An inbox, what it has received, and what it has to."""

    broker: int
    inbox: Inbox | None = None
    received: list[bytes] = field(default_factory=list)
    expected: list[bytes] = field(default_factory=list)

    def __call__(self, reply: Message) -> None:
        self.received.append(reply.body)


class Ground:
    """One broker under test, and the loop on which all programs run. Each program has names of its own."""

    def __init__(self, stand: Stand, runner: asyncio.Runner) -> None:
        self.stand = stand
        self.runner = runner
        self._programs = count()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def new_program(self) -> str:
        return f"m{next(self._programs)}-"
