"""Many calls at once: in order, a bounded number in flight, not atomic."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing, suppress
from typing import Any

from taskq.client.sender import Sending
from taskq.errors import EnqueueManyFailed
from taskq.tasks.call import BoundCall
from taskq.tasks.job import Job

IN_FLIGHT = 1_000

_BEGUN_AT_ONCE = 100  # before others on the event loop get their turn, and the socket what was written

Begin = Callable[[BoundCall[Any]], Sending]
End = Callable[[Sending], Job]


async def enqueue_many(
    begin: Begin, end: End, calls: Iterable[BoundCall[Any]] | AsyncIterable[BoundCall[Any]]
) -> list[Job]:
    """Enqueue each call with a sender's ``begin`` and ``end``, and return the jobs in the order of the calls.

    At most ``IN_FLIGHT`` wait for their confirmation at a time. After the first failure is known, which is when those
    before it have ended, no further call is taken from the iterable; those in flight are waited for. Raises
    :class:`EnqueueManyFailed`, also (with the cause) when the iterable itself raises. When the wait is cancelled, calls
    in flight may or may not be enqueued.
    """
    flight = _Flight(begin, end)
    broken: Exception | None = None
    try:
        try:
            if isinstance(calls, AsyncIterable):
                await _take_each(flight, calls)
            else:
                await _take_all(flight, calls)
        except Exception as error:
            broken = error
        await flight.make_room(0)
    finally:
        await flight.abandon()
    if broken is not None:
        raise EnqueueManyFailed(flight.confirmed, flight.failed, f"the iterable raised {broken!r}") from broken
    if flight.failed:
        raise EnqueueManyFailed(flight.confirmed, flight.failed) from flight.failed[0][1]
    return flight.confirmed


async def _take_all(flight: _Flight, calls: Iterable[BoundCall[Any]]) -> None:
    for number, call in enumerate(calls, 1):
        flight.begin(call)
        if number % _BEGUN_AT_ONCE == 0:
            await asyncio.sleep(0)
            await flight.make_room(IN_FLIGHT - _BEGUN_AT_ONCE)
        if flight.failing:
            return


async def _take_each(flight: _Flight, calls: AsyncIterable[BoundCall[Any]]) -> None:
    async with aclosing(_each(calls)) as each:
        async for call in each:
            flight.begin(call)
            await flight.make_room(IN_FLIGHT - 1)
            if flight.failing:
                return


async def _each(calls: AsyncIterable[BoundCall[Any]]) -> AsyncGenerator[BoundCall[Any]]:
    async for call in calls:
        yield call


class _Flight:
    """The calls that wait for their confirmation, the oldest first, and what became of those before them.

    No call has a task of its own: confirmations are futures, and are waited for one after another.
    """

    def __init__(self, begin: Begin, end: End) -> None:
        self.confirmed: list[Job] = []
        self.failed: list[tuple[BoundCall[object], Exception]] = []
        self.failing = False
        self._begin = begin
        self._end = end
        self._open: deque[Sending] = deque()

    def begin(self, call: BoundCall[Any]) -> None:
        """Start to send a call."""
        try:
            sending = self._begin(call)
        except Exception as error:
            self.failing = True
            self.failed.append((call, error))
        else:
            self._open.append(sending)

    async def make_room(self, most: int) -> None:
        """Take down what has ended, in order, and wait until no more than ``most`` are in flight."""
        while self._open:
            confirmation = self._open[0].confirmation
            if not confirmation.done():
                if len(self._open) <= most:
                    return
                with suppress(Exception):  # it is told below
                    await confirmation
            self._land(self._open.popleft())

    async def abandon(self) -> None:
        """Cancel what is still in flight."""
        for sending in self._open:
            sending.confirmation.cancel()
        await asyncio.gather(*(sending.confirmation for sending in self._open), return_exceptions=True)

    def _land(self, sending: Sending) -> None:
        try:
            self.confirmed.append(self._end(sending))
        except Exception as error:
            self.failing = True
            self.failed.append((sending.call, error))
