"""The loop's side of an engine: it gathers the operations of one turn of the loop, and keeps the deadlines of those
that somebody waits for.

One timer serves all deadlines: it is set to the earliest, and set anew when it fires. An operation that has not
started at its deadline is withdrawn: nothing was stored. One that has may be stored: the disk is slow, and nobody can
say.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any, TypeVar

from taskq.broker.home import Home
from taskq.broker.sqlite.engine import Engine
from taskq.broker.sqlite.operation import Operation
from taskq.errors import BrokerBlocked, BrokerError, PublishUnconfirmed, UsageError

R = TypeVar("R")


class Submitter:
    """Of one broker, on its loop. ``submit`` may be called until it is closed."""

    def __init__(self, engine: Engine, label: str) -> None:
        self.closed = False
        self._engine = engine
        self._label = label
        self._home = Home()
        self._loop = self._home.loop
        self._turn: list[Operation[Any]] = []
        self._last: list[Operation[Any]] = []
        self._open: dict[Operation[Any], None] = {}  # in the order of their submission
        self._note_end = self._ended
        self._timer: asyncio.TimerHandle | None = None
        self._drained: asyncio.Future[None] | None = None

    def submit(
        self, operation: Operation[R], *, timeout_s: float = math.inf, handed_over: bool = True
    ) -> asyncio.Future[R]:
        """Start an operation; those of one turn of the loop are run in one transaction, in order.

        With ``handed_over=False`` the caller calls :meth:`hand_over` in this turn.
        """
        future = self._begin(operation, timeout_s)
        if handed_over:
            self._gather()
        self._turn.append(operation)
        return future

    def submit_last(self, operation: Operation[R]) -> asyncio.Future[R]:
        """Start an operation behind all others of this turn."""
        future = self._begin(operation, math.inf)
        self._gather()
        self._last.append(operation)
        return future

    def hand_over(self) -> None:
        """Send what this turn of the loop has gathered. It is called at the turn's end, or by who knows it is all."""
        operations = self._turn + self._last
        if not operations:
            return
        self._turn, self._last = [], []
        for operation in operations:
            operation.leaving()
        self._engine.hand_over(operations)

    def check_usable(self) -> None:
        """Raise :class:`UsageError` where nothing may be submitted."""
        self._home.check()
        if self.closed:
            raise UsageError("this broker is closed; use it inside its `async with`")

    @property
    def owes(self) -> bool:
        """Whether something is open that only this process can do."""
        return not all(operation.tidies for operation in self._open)

    @property
    def stuck_s(self) -> float:
        """For how long the database has taken nothing, in seconds; 0.0 while it takes what comes."""
        return self._engine.trouble.lasts_s

    async def drain(self, timeout_s: float) -> bool:
        """Wait for what was submitted; say whether all of it ended."""
        if self._open:
            self._drained = self._loop.create_future()
            await asyncio.wait([self._drained], timeout=timeout_s)
        return not self._open

    def close(self) -> None:
        """Take nothing more; what is still open is left undone."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        for operation in list(self._open):
            closed = BrokerBlocked(f"{self._label}: the broker was closed before {operation.what} got its turn")
            if operation.patient:
                operation.abandon()
            elif not self._engine.withdraw(operation, closed):
                operation.fail(self._unconfirmed(operation))

    def _begin(self, operation: Operation[R], timeout_s: float) -> asyncio.Future[R]:
        self.check_usable()
        loop = operation.loop = self._loop
        future = operation.future = loop.create_future()
        operation.ended = self._note_end
        operation.started = False
        operation.timeout_s = timeout_s
        self._open[operation] = None
        if timeout_s == math.inf:
            operation.until = math.inf
        else:
            until = operation.until = loop.time() + timeout_s
            if self._timer is None or until < self._timer.when():
                self._set_timer(until)
        return future

    def _gather(self) -> None:
        if not self._turn and not self._last:
            self._loop.call_soon(self.hand_over)

    def _ended(self, operation: Operation[Any]) -> None:
        self._open.pop(operation, None)
        if not self._open and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _set_timer(self, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(until, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for operation in list(self._open):
            if operation.until <= now:
                operation.until = math.inf
                self._give_up(operation)
        earliest = min((operation.until for operation in self._open), default=math.inf)
        if earliest < math.inf:
            self._set_timer(earliest)

    def _give_up(self, operation: Operation[Any]) -> None:
        timeout_s = operation.timeout_s
        obstacle = self._engine.trouble.obstacle or BrokerBlocked(
            f"{self._label}: {operation.what} did not get its turn within {timeout_s:g} s, so nothing was stored; the "
            "disk is too slow for what is asked of it"
        )
        if not self._engine.withdraw(operation, obstacle):
            operation.end_with(self._unconfirmed(operation))

    def _unconfirmed(self, operation: Operation[Any]) -> BrokerError:
        """Return the error of one that began, and of which nobody knows whether it will be stored."""
        if operation.sends:
            return PublishUnconfirmed(operation.what, operation.timeout_s)
        return BrokerBlocked(
            f"{self._label}: {operation.what} began and did not end in time; it may have been stored all the same, and "
            "can be asked for again. The disk is too slow for what is asked of it"
        )
