"""Deadlines of what has none in the contract: so many seconds without progress, over connections that come and go.

A large operation may take as long as it likes while it gets on: each step moves the deadline. When it is over, the
error says what is wrong with the broker, as far as that is known, and how far the operation got.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from taskq.broker.amqp.lifeline import Lifeline
from taskq.errors import BrokerBlocked, BrokerError, BrokerUnreachable

TIMEOUT_S = 15.0
_PAUSE_S = 0.05

T = TypeVar("T")


class Progress:
    """How far an operation got, ``text`` in words for people. ``on_step`` is called when it is further than ever."""

    def __init__(self, on_step: Callable[[], None] = lambda: None) -> None:
        self.text = ""
        self._on_step = on_step
        self._best = self._steps = 0
        self._what, self._done, self._total = "", 0, 0

    def restart(self) -> None:
        """Begin again: only what goes beyond the last time is progress."""
        self._steps = 0

    def begin(self, what: str, total: int) -> None:
        """Name the next part: ``"declared {} queues"``; ``{}`` is where the numbers are put."""
        self._what, self._done, self._total = what, 0, total

    def step(self, count: int = 1) -> None:
        """Get on by ``count`` of the part's total."""
        self._steps += count
        self._done += count
        if self._steps > self._best:
            self._best = self._steps
            self.text = self._what.format(f"{self._done:,} of {self._total:,}")
            self._on_step()


class Connections(Protocol):
    """What patience needs of its broker."""

    @property
    def label(self) -> str: ...

    @property
    def closed(self) -> bool: ...

    @property
    def lifelines(self) -> tuple[Lifeline, ...]:
        """Those that were opened, the one that looks and declares first."""
        ...


class Patience:
    """Gives work ``timeout_s`` seconds for each of its steps."""

    def __init__(self, connections: Connections, timeout_s: float = TIMEOUT_S) -> None:
        self.timeout_s = timeout_s
        self._connections = connections

    async def through(self, work: Callable[[Progress], Awaitable[T]]) -> T:
        """Do what can be repeated until it is done, also over lost connections, while it gets on.

        Raises what ``work`` raises, :class:`BrokerUnreachable` and :class:`BrokerBlocked`.
        """

        async def again(progress: Progress) -> T:
            while True:
                progress.restart()
                try:
                    return await work(progress)
                except BrokerUnreachable:
                    if self._connections.closed:
                        raise
                    await asyncio.sleep(_PAUSE_S)

        return await self.once(again)

    async def once(self, work: Callable[[Progress], Awaitable[T]]) -> T:
        """Do it on the connection that is there, while it gets on. Raises as :meth:`through`."""
        loop, deadline = asyncio.get_running_loop(), asyncio.timeout(self.timeout_s)

        def longer() -> None:
            if not deadline.expired():
                deadline.reschedule(loop.time() + self.timeout_s)

        progress = Progress(longer)
        try:
            async with deadline:
                return await work(progress)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise self._late(progress.text) from None

    def _late(self, reached: str) -> BrokerError:
        """Return the error of the deadline: what keeps the broker from answering, as far as that is known."""
        so_far = f" (until then: {reached})" if reached else ""
        for lifeline in self._connections.lifelines:
            if lifeline.current is None:
                return BrokerUnreachable(f"{lifeline.trouble()}{so_far}")
        label, blocked = self._connections.label, self._connections.lifelines[0].blocked
        if blocked is not None:
            return BrokerBlocked(f"{label} takes nothing at the moment: {blocked}{so_far}")
        return BrokerUnreachable(
            f"{label} has not answered for {self.timeout_s:g} s{so_far}; is the broker overloaded, or the network down?"
        )
