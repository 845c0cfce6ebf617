"""The replies of one process: one inbox, opened when it is first needed, and the waits for results, by job id.

Theory of operation. A wait is registered in the turn of the loop in which its job is published, since the reply may
overtake the confirmation. It is removed by whatever comes first: the reply, the end of its time, the cancellation of
its ``call``, a publish that failed, or the end of the app. So the table is bounded by what is being waited for,
whatever the broker does. A reply that finds no wait is late, repeated or foreign: it is dropped and counted.

The inbox is opened for all who need it meanwhile, and each waits for that no longer than for its result.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Generic, TypeVar, assert_never

from taskq.broker.protocol import Broker, Inbox
from taskq.errors import (
    BrokerUnreachable,
    JobCancelled,
    JobExpired,
    ResultTimeout,
    TaskFailed,
    UndecodableMessage,
    UsageError,
)
from taskq.lifecycle import Emitter, OwnQueueAwaited, ReplyDropped
from taskq.opening import Opening
from taskq.tasks.context import current_context
from taskq.tasks.definition import TaskDefinition
from taskq.timelimits import TimeLimits
from taskq.wire.message import Message
from taskq.wire.reply import Cancelled, Expired, Failed, Reply, Returned, read_reply

T = TypeVar("T")


class _TimedOut:
    """Stands in the place of a reply that did not come in time."""


class _Closed:
    """Stands in the place of a reply that cannot come any more."""


@dataclass(frozen=True, slots=True)
class _Unsent:
    """Stands in the place of the reply to what could not be sent."""

    error: Exception


_Arrived = Reply | UndecodableMessage | _TimedOut | _Closed | _Unsent


class PendingResult(Generic[T]):
    """A wait for the result of one job. It implements :class:`taskq.tasks.job.Pending`.

    ``left_s``: what is left of ``timeout_s``.
    """

    __slots__ = ("_arrived", "_definition", "_left_s", "_loop", "_replies", "_timeout_s", "_until", "job_id")

    def __init__(
        self, replies: ReplyInbox, job_id: str, definition: TaskDefinition, timeout_s: float, left_s: float
    ) -> None:
        self.job_id = job_id
        self._replies = replies
        self._definition = definition
        self._timeout_s = timeout_s
        self._loop = loop = asyncio.get_running_loop()
        self._arrived: asyncio.Future[_Arrived] = loop.create_future()
        self._limit(left_s)

    @property
    def foreign(self) -> bool:
        """Whether a plain AMQP program is to answer."""
        return self._definition.foreign

    async def wait(self, timeout_s: float | None) -> T:
        """Return the result; see :meth:`taskq.tasks.job.ResultJob.result`. A cancelled wait changes nothing."""
        if timeout_s is not None and not self._arrived.done():
            self._extend(timeout_s)
        awaited = self._begin_wait()
        try:
            done, _ = await asyncio.wait({self._arrived}, timeout=timeout_s)
        finally:
            if awaited is not None:
                awaited[self._definition.queue] -= 1
        if not done:
            raise ResultTimeout(self._definition.name, self.job_id, self._timeout_s if timeout_s is None else timeout_s)
        return self._opened(self._arrived.result())

    async def wait_once(self) -> T:
        """Return the result of a wait that has one owner: when it is cancelled, the reply is no longer waited for."""
        awaited = self._begin_wait()
        try:
            arrived = await self._arrived
        except asyncio.CancelledError:
            self.withdraw()
            raise
        finally:
            if awaited is not None:
                awaited[self._definition.queue] -= 1
        return self._opened(arrived)

    def resolve(self, arrived: _Arrived) -> None:
        """End the wait with what came. A second reply changes nothing."""
        self._replies.limits.end(self, self._left_s)
        if not self._arrived.done():
            self._arrived.set_result(arrived)

    def withdraw(self) -> None:
        """Stop waiting; a reply that still comes is dropped."""
        self._replies.limits.end(self, self._left_s)
        self._replies.forget(self.job_id)

    def fail(self, error: Exception) -> None:
        """End the wait with the error of what could not be sent; harmless after its end."""
        if not self._arrived.done():
            self._replies.forget(self.job_id)  # after its end, that may be another's
            self.resolve(_Unsent(error))

    def expire(self) -> None:
        """Its time is over."""
        self._replies.forget(self.job_id)
        self.resolve(_TimedOut())

    def _begin_wait(self) -> Counter[str] | None:
        """Take note in its worker that a task waits, and tell when it is for what cannot begin before its own end."""
        here, queue = current_context.get(), self._definition.queue
        if here is None or self._arrived.done():
            return None
        context = here.context
        if context.awaited is not None:
            context.awaited[queue] += 1
        if context.queue == queue and context.slots == 1:
            name = self._definition.name
            self._replies.emitter.emit(
                OwnQueueAwaited(job_id=self.job_id, task=name, queue=queue, by_task=context.task)
            )
        return context.awaited

    def _extend(self, timeout_s: float) -> None:
        if self._loop.time() + timeout_s > self._until:
            self._replies.limits.end(self, self._left_s)
            self._timeout_s = timeout_s
            self._limit(timeout_s)

    def _limit(self, left_s: float) -> None:
        self._left_s = left_s
        self._until = self._loop.time() + left_s
        self._replies.limits.begin(self, left_s)

    def _opened(self, arrived: _Arrived) -> T:
        name = self._definition.name
        match arrived:
            case Returned(body):
                signature = self._definition.signature
                result: T = (signature.decode_foreign_result if self.foreign else signature.decode_result)(body)
                return result
            case Failed(reason, failure):
                raise TaskFailed(
                    task=name,
                    job_id=self.job_id,
                    reason=reason,
                    remote_type=failure.type,
                    remote_message=failure.message,
                    remote_traceback=failure.traceback,
                )
            case Expired():
                raise JobExpired(name, self.job_id)
            case Cancelled():
                raise JobCancelled(name, self.job_id)
            case UndecodableMessage():
                raise UndecodableMessage(f"{name}: {arrived} [job {self.job_id}]")
            case _TimedOut():
                raise ResultTimeout(name, self.job_id, self._timeout_s)
            case _Unsent(error):
                raise error
            case _Closed():
                raise UsageError(f"{name}: the app was closed before the result came [job {self.job_id}]")
            case _:
                assert_never(arrived)


class ReplyInbox:
    """The table of waits, and the inbox that feeds it."""

    def __init__(self, broker: Broker, emitter: Emitter) -> None:
        self._broker = broker
        self.emitter = emitter
        self.limits = TimeLimits()
        self._pending: dict[str, PendingResult[object]] = {}
        self._inbox: Opening[Inbox] = Opening(self._open, name="taskq: reply queue", closed=_closed)
        self._closed = False

    def __len__(self) -> int:
        return len(self._pending)

    async def address(self, timeout_s: float) -> str:
        """Return the name for ``reply_to``, opening the inbox at the first call.

        Raises what that raises, and :class:`BrokerUnreachable` when it takes longer than ``timeout_s``.
        """
        if self._inbox.done:
            return (await self._inbox.result()).address
        try:
            async with asyncio.timeout(timeout_s):
                return (await self._inbox.result()).address
        except TimeoutError:
            raise BrokerUnreachable(
                f"{self._broker.label} made no reply queue within {timeout_s:g} s, so nothing was sent; is the broker "
                "reachable?"
            ) from None

    def check(self, job_id: str) -> None:
        """Raise :class:`UsageError` when this process waits for that job already, or for nothing any more."""
        if self._closed:
            raise _closed()
        if job_id in self._pending:
            raise UsageError(f"job {job_id!r} is being waited for already; give each job an id of its own")

    def expect(
        self, job_id: str, definition: TaskDefinition, timeout_s: float, left_s: float | None = None
    ) -> PendingResult[object]:
        """Register a wait of ``timeout_s``, of which ``left_s`` are left. Raises as :meth:`check` does."""
        self.check(job_id)
        left_s = timeout_s if left_s is None else left_s
        pending: PendingResult[object] = PendingResult(self, job_id, definition, timeout_s, left_s)
        self._pending[job_id] = pending
        return pending

    def forget(self, job_id: str) -> None:
        """Remove a wait; harmless when it is gone."""
        self._pending.pop(job_id, None)

    def receive(self, message: Message) -> None:
        """Give a reply to its wait, or drop and count it."""
        pending = self._pending.pop(message.correlation_id or "", None)
        if pending is None:
            self.emitter.emit(ReplyDropped(correlation_id=message.correlation_id, reason="nobody waits for it"))
            return
        try:
            pending.resolve(read_reply(message, foreign=pending.foreign))
        except UndecodableMessage as error:
            pending.resolve(error)

    async def close(self) -> None:
        """End every wait, also for the inbox."""
        self._closed = True
        for job_id in list(self._pending):
            self._pending.pop(job_id).resolve(_Closed())
        self.limits.close()
        await self._inbox.close()

    async def _open(self) -> Inbox:
        return await self._broker.open_inbox(self.receive)


def _closed() -> UsageError:
    return UsageError("the app was closed before the job was sent; call tasks inside `async with app:`")
