"""Many calls at once: in order, a bounded number in flight, not atomic."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any

from taskq.client.sender import Sending
from taskq.errors import EnqueueManyFailed
from taskq.tasks.call import BoundCall
from taskq.tasks.job import Job

IN_FLIGHT = 1_000

_BEGUN_AT_ONCE = 64  # before others on the event loop get their turn, and the socket what was written

Begin = Callable[[BoundCall[Any]], Sending]
Landed = Callable[[Sending], Coroutine[Any, Any, Job]]


async def enqueue_many(
    begin: Begin, landed: Landed, calls: Iterable[BoundCall[Any]] | AsyncIterable[BoundCall[Any]]
) -> list[Job]:
    """Enqueue each call with a sender's ``begin`` and ``landed``, and return the jobs in the order of the calls.

    At most ``IN_FLIGHT`` wait for their confirmation at a time. After the first failure is known no further call is
    taken from the iterable; those in flight are waited for. Raises :class:`EnqueueManyFailed`, also (with the cause)
    when the iterable itself raises. When the wait is cancelled, calls in flight may or may not be enqueued.
    """
    flight = _Flight(begin, landed)
    broken: Exception | None = None
    try:
        try:
            async with aclosing(_each(calls)) as each:
                async for call in each:
                    await flight.begin(call)
                    if flight.failing:
                        break
        except Exception as error:
            broken = error
        await flight.land_all()
    finally:
        await flight.abandon()
    if broken is not None:
        raise EnqueueManyFailed(flight.confirmed, flight.failed, f"the iterable raised {broken!r}") from broken
    if flight.failed:
        raise EnqueueManyFailed(flight.confirmed, flight.failed) from flight.failed[0][1]
    return flight.confirmed


class _Flight:
    """The calls that wait for their confirmation, the oldest first, and what became of those before them.

    No call has a task of its own: confirmations are futures, and are waited for one after another.
    """

    def __init__(self, begin: Begin, landed: Landed) -> None:
        self.confirmed: list[Job] = []
        self.failed: list[tuple[BoundCall[object], Exception]] = []
        self.failing = False
        self._begin = begin
        self._landed = landed
        self._open: deque[Sending] = deque()
        self._begun = 0

    async def begin(self, call: BoundCall[Any]) -> None:
        """Start to send a call; wait while too many others are in flight."""
        try:
            sending = self._begin(call)
        except Exception as error:
            self.failing = True
            self.failed.append((call, error))
            return
        sending.confirmation.add_done_callback(self._look)
        self._open.append(sending)
        self._begun += 1
        if self._begun % _BEGUN_AT_ONCE == 0:
            await asyncio.sleep(0)
        while len(self._open) >= IN_FLIGHT or (self._open and self._open[0].confirmation.done()):
            await self._land()

    async def land_all(self) -> None:
        while self._open:
            await self._land()

    async def abandon(self) -> None:
        """Cancel what is still in flight."""
        for sending in self._open:
            sending.confirmation.cancel()
        await asyncio.gather(*(sending.confirmation for sending in self._open), return_exceptions=True)

    async def _land(self) -> None:
        sending = self._open[0]
        try:
            self.confirmed.append(await self._landed(sending))
        except Exception as error:
            self.failing = True
            self.failed.append((sending.call, error))
        self._open.popleft()

    def _look(self, confirmation: asyncio.Future[None]) -> None:
        self.failing = self.failing or confirmation.cancelled() or confirmation.exception() is not None


async def _each(
    calls: Iterable[BoundCall[Any]] | AsyncIterable[BoundCall[Any]],
) -> AsyncGenerator[BoundCall[Any]]:
    if isinstance(calls, AsyncIterable):
        async for call in calls:
            yield call
    else:
        for call in calls:
            yield call
