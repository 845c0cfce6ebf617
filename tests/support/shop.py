"""A small app over the broker in memory, whose jobs wait for the test, and its worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from taskq import Context, TaskQ
from taskq.lifecycle import (
    Event,
)
from taskq.worker.worker import Worker, WorkerReport


class Shop:
    """An app in memory with jobs that wait for the test, and all that it told."""

    def __init__(self, **settings: Any) -> None:
        self.app: TaskQ[Any] = TaskQ("shop", **{"url": f"memory://{id(self)}"} | settings)
        self.go_on = asyncio.Event()
        self.begun: list[tuple[int, int]] = []
        self.ended: list[int] = []
        self.events: list[Event] = []
        self.app.on(Event)(self.events.append)

        @self.app.task
        async def quick(n: int) -> int:
            self.ended.append(n)
            return n

        @self.app.task
        async def slow(n: int) -> int:
            context = Context.current()
            self.begun.append((context.attempt, context.execution))
            await self.go_on.wait()
            self.ended.append(n)
            return n

        self.quick, self.slow = quick, slow

    def kinds(self, *kinds: type[Event]) -> list[type[Event]]:
        return [type(event) for event in self.events if isinstance(event, kinds)]

    async def states(self) -> dict[str, tuple[int, int | None]]:
        return {state.name: (state.ready, state.unsettled) for state in await self.app.queues()}


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[asyncio.Task[WorkerReport]]:
    """Run a worker beside the block, which has to stop it."""
    running = asyncio.create_task(worker.run())
    started = asyncio.create_task(worker.started.wait())
    await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    try:
        yield running
    finally:
        if not running.done():
            running.cancel()
        await asyncio.wait([running])
