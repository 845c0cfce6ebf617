"""Looking at queues, and taking single messages out of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from taskq.broker.protocol import ExchangeState, Listing, Outgoing, QueueState
from taskq.broker.sqlite.inspecting import Bindings, Exchanges, LastId, Page, PageRow, Rework, States
from taskq.broker.sqlite.operation import Operation
from taskq.broker.sqlite.packing import pack, unpack
from taskq.broker.sqlite.session import Session
from taskq.tasks.exchanges import Binding
from taskq.wire.message import Message

_PAGE = 100
_TIMEOUT_S = 15.0

R = TypeVar("R")


class SqliteInspector:
    """Implements :class:`taskq.broker.protocol.Inspector`."""

    def __init__(self, session: Session, label: str) -> None:
        self._session = session
        self._source = f"the tables of {label}"

    async def queues(self, names: Iterable[str] = ()) -> list[QueueState]:
        """Return every work and dead-letter queue, sorted by name."""
        return await self._submit(States(self._session.clock))

    async def list_queues(self, names: Iterable[str] = ()) -> Listing[QueueState]:
        """Return every work and dead-letter queue, sorted by name."""
        return Listing(await self.queues(), self._source)

    async def list_exchanges(self, names: Iterable[str] = ()) -> Listing[ExchangeState]:
        """Return every exchange, sorted by name."""
        return Listing(await self._submit(Exchanges()), self._source)

    async def list_bindings(self) -> Listing[Binding]:
        """Return every binding, sorted."""
        return Listing(await self._submit(Bindings()), self._source)

    async def browse(self, queue: str, *, limit: int) -> list[Message]:
        """Return up to ``limit`` messages that are ready, the oldest first."""
        rows = await self._submit(Page(self._session.clock, queue, limit=limit))
        return [unpack(properties, body) for _, properties, body in rows]

    async def rework(self, queue: str, decide: Callable[[Message], Sequence[Outgoing] | None]) -> int:
        """Offer each message that is ready now to ``decide``, page by page.

        It decides while nothing is locked. A message that a consumer takes meanwhile is the consumer's.
        """
        settled = after = 0
        last = await self._submit(LastId())
        while rows := await self._page(queue, after, last):
            after = rows[-1][0]
            reworks: list[Rework] = []
            try:
                for message, properties, body in rows:
                    replacements = decide(unpack(properties, body))
                    if replacements is not None:
                        now = self._session.clock.now()
                        reworks.append(Rework(message, tuple(pack(each, now) for each in replacements)))
            finally:
                settled += sum(await asyncio.gather(*map(self._submit, reworks)))
        return settled

    async def _page(self, queue: str, after: int, last: int) -> list[PageRow]:
        return await self._submit(Page(self._session.clock, queue, limit=_PAGE, after=after, last=last))

    async def _submit(self, operation: Operation[R]) -> R:
        return await self._session.submitter.submit(operation, timeout_s=_TIMEOUT_S)
