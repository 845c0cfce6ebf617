"""An app whose jobs stay until the test lets them go, and that knows who ran beside whom; and jobs that came back."""

import asyncio
from typing import Any

from taskq import Context, Queue
from taskq.broker.protocol import Delivery
from tests.support.shop import Shop
from tests.support.waiting import until


class Crowd(Shop):
    """A shop whose jobs stay until their gate is open, and that writes down who runs beside whom."""

    def __init__(self, delivery_limit: int = 20, **settings: Any) -> None:
        super().__init__(**settings)
        self.app.add_queue(Queue("default", type="classic", max_priority=9, delivery_limit=delivery_limit))
        self.inside: list[str] = []
        self.beside: dict[str, set[str]] = {}
        self.executions: dict[str, list[int]] = {}
        self.gates: dict[str, asyncio.Event] = {}

        @self.app.task(context=True)
        async def stay(ctx: Context[Any], name: str) -> str:
            self.executions.setdefault(name, []).append(ctx.execution)
            self.enter(name)
            try:
                await self.gate(name).wait()
            finally:
                self.inside.remove(name)
            self.ended.append(len(self.ended))
            return name

        self.stay = stay

    def enter(self, name: str) -> None:
        self.beside.setdefault(name, set()).update(self.inside)
        for other in self.inside:
            self.beside[other].add(name)
        self.inside.append(name)

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())

    def open(self, *names: str) -> None:
        for name in names:
            self.gate(name).set()

    async def first(self, *names: str) -> None:
        """Enqueue jobs that a worker gets before all others."""
        for name in names:
            await self.stay.with_options(priority=9).enqueue(name)

    async def suspects(self, *names: str, deaths: int = 2) -> None:
        """Enqueue jobs that were in flight at so many deaths."""
        for name in names:
            await self.stay.enqueue(name)
        await self.came_back("default", len(names), times=deaths)

    async def came_back(self, queue: str, count: int, *, times: int = 2) -> None:
        """Let what waits in a queue come back so often."""
        for _ in range(times):
            got = await self._taken(queue, count)
            assert len(got) == count

    async def redeliveries(self, count: int) -> list[int]:
        """Return how often each of the messages that wait has come back; they come back once more by that."""
        return sorted(delivery.redeliveries for delivery in await self._taken("default", count))

    async def _taken(self, queue: str, count: int) -> list[Delivery]:
        got: list[Delivery] = []
        consumer = await self.app.connection.broker.consume(queue, prefetch=count, deliver=got.append)
        await until(lambda: len(got) == count)
        await consumer.close()
        return got

    def told(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]
