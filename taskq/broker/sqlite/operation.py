"""Something to be done in the database: made on the event loop, run in the engine's thread, resolved on the loop.

An operation is *waiting* until the engine has the lock of the database, *started* while a transaction is tried with it,
and waiting again when that was rolled back. Only one that waits can be withdrawn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from taskq.broker.sqlite.batch import Batch

R = TypeVar("R")


class Operation(Generic[R]):
    """One operation. A subclass says in :meth:`run` what it does; it may be run again after a rollback.

    There is one for each job that is sent and one for each that ends, so it has slots, and carries its own result to
    the loop: each object that waits with a thousand others costs once when it is made and again at each garbage
    collection.
    """

    __slots__ = ("ended", "error", "future", "loop", "result", "started", "timeout_s", "until")

    patient: ClassVar[bool] = False
    """Whether it goes on trying while the database cannot be written; nobody's deadline depends on it."""

    looks: ClassVar[bool] = False
    """Whether it only reads. It sees what was handed over before it, and waits for nobody who writes."""

    sends: ClassVar[bool] = False
    """Whether it stores a message, which somebody may run before it is known."""

    tidies: ClassVar[bool] = False
    """Whether others see to its effect when this process is gone without it."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[R]
    ended: Callable[[Operation[Any]], None]
    started: bool
    until: float
    """Its deadline, in the loop's time, which it has for ``timeout_s`` seconds."""
    timeout_s: float
    result: R
    error: Exception | None

    @property
    def what(self) -> str:
        """What it is called in an error."""
        return "an operation"

    @property
    def behind(self) -> Sequence[Operation[Any]]:
        """Operations of the same turn whose effect it builds on: while they wait, it waits."""
        return ()

    def run(self, batch: Batch) -> R:
        """Do it, in the thread. A :class:`TaskqError` must be raised before anything is written."""
        raise NotImplementedError

    def committed(self, result: R) -> None:
        """Take note, in the thread, that it is stored. It must not raise."""

    def leaving(self) -> None:
        """Take note, on the loop, that it is handed over to the thread now."""

    def tell(self) -> None:
        """Pass on, on the loop, what the thread has left in ``result`` or ``error``."""
        if self.error is None:
            self.resolve(self.result)
        else:
            self.fail(self.error)

    def resolve(self, result: R) -> None:
        """Pass the result on, on the loop."""
        self.ended(self)
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Pass an error on, on the loop."""
        self.ended(self)
        self.end_with(error)

    def end_with(self, error: Exception) -> None:
        """Tell who waits for it, if somebody does: an error that nobody waits for is no error of its own."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # so that asyncio does not complain of it

    def abandon(self) -> None:
        """Take note, on the loop, that nobody waits for it any more and it was or will be left undone."""
        self.ended(self)
        if not self.future.done():
            self.future.cancel()
