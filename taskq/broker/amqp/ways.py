"""Publishes that wait until their way exists: through the delay ladder, or over an exchange that somebody deleted.

The first that needs a way has it made, and those that need the same one wait with it. When it is there they go on in
their order; when it cannot be made, each gets the error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Protocol

from taskq.broker.amqp.backlog import Backlog
from taskq.broker.amqp.delays import DelayRoutes
from taskq.broker.amqp.outbox import Publish
from taskq.errors import BrokerError, BrokerUnreachable

_PAUSE_S = 0.05


class Exchanges(Protocol):
    """The exchanges that this program declared."""

    def makes(self, exchange: str) -> bool:
        """Whether it may be made again here."""
        ...

    async def restore(self, exchange: str) -> None:
        """Make it exist again, with its bindings. Raises :class:`BrokerError`."""
        ...


class Ways:
    """What is under way of being made. ``go_on`` is called with those that waited for it."""

    def __init__(
        self,
        routes: DelayRoutes,
        exchanges: Exchanges,
        *,
        go_on: Callable[[Sequence[Publish]], None],
    ) -> None:
        self._routes = routes
        self._exchanges = exchanges
        self._go_on = go_on
        self._waiting: dict[tuple[str, str], Backlog] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def wait(self, publish: Publish) -> None:
        """Let a publish wait for its way."""
        way = (publish.exchange, "" if publish.exchange else publish.queue)
        if (waiting := self._waiting.get(way)) is not None:
            waiting.append(publish)
            return
        self._waiting[way] = Backlog()
        self._waiting[way].append(publish)
        task = asyncio.get_running_loop().create_task(self._made(way), name="taskq: way of a publish")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def waits_for(self, exchange: str) -> bool:
        """Whether an exchange is being made again."""
        return (exchange, "") in self._waiting

    def __iter__(self) -> Iterator[Publish]:
        return chain.from_iterable(self._waiting.values())

    def look(self) -> None:
        """Let go of those that nobody waits for."""
        for waiting in self._waiting.values():
            waiting.look()

    async def close(self) -> None:
        """Make nothing more. Those that wait do so for good."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _made(self, way: tuple[str, str]) -> None:
        exchange, queue = way
        while True:
            try:
                await (self._exchanges.restore(exchange) if exchange else self._routes.prepare(queue))
                break
            except BrokerUnreachable:
                await asyncio.sleep(_PAUSE_S)  # until the connection is back; those that wait have their deadlines
            except Exception as error:
                refused = error if isinstance(error, BrokerError) else BrokerError(f"its way cannot be made: {error!r}")
                for publish in self._waiting.pop(way).take_all():
                    publish.fail(refused)
                return
        self._go_on(self._waiting.pop(way).take_all())
