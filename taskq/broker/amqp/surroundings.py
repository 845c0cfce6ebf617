"""What consumers and reply queues need of the broker that they belong to."""

from __future__ import annotations

import asyncio
from typing import Protocol

from taskq.broker.amqp.declaring import Declarer
from taskq.broker.amqp.lifeline import Lifeline
from taskq.broker.protocol import Outgoing
from taskq.lifecycle import Event


class Surroundings(Protocol):
    """A broker, as its parts see it."""

    @property
    def label(self) -> str: ...

    @property
    def lifeline(self) -> Lifeline: ...

    def publish_always(self, outgoing: Outgoing) -> asyncio.Future[None]: ...

    @property
    def declarer(self) -> Declarer: ...

    async def redeclare(self, queue: str) -> None: ...

    def emit(self, event: Event) -> None: ...
