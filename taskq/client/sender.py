"""From a bound call to a confirmed job. One for each open app; it implements :class:`taskq.tasks.call.Sender`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from taskq.broker.protocol import Broker, Outgoing
from taskq.client.replies import PendingResult, ReplyInbox
from taskq.clock import Clock
from taskq.errors import PublishUnconfirmed, ResultTimeout, UsageError
from taskq.lifecycle import Emitter, JobEnqueued
from taskq.tasks.call import BoundCall
from taskq.tasks.duration import seconds
from taskq.tasks.job import Job, ResultJob
from taskq.tasks.registry import Registry
from taskq.wire.headers import SIZE_OF_OURS
from taskq.wire.ids import new_job_id
from taskq.wire.job import new_job
from taskq.wire.message import check_size

T = TypeVar("T")
_LATENESS_S = 0.02


class Limits(NamedTuple):
    """What a sender keeps to. Times are seconds, sizes bytes."""

    publish_timeout_s: float
    reply_timeout_s: float
    max_message_bytes: int


class Sending(NamedTuple):
    """A call that is on its way to the broker: its job, and the broker's confirmation to wait for."""

    call: BoundCall[Any]
    job_id: str
    not_before: float | None
    timeout_s: float
    confirmation: asyncio.Future[None]

    def named(self, error: PublishUnconfirmed) -> PublishUnconfirmed:
        """Return an error that says which job it is about."""
        return PublishUnconfirmed(f"{self.call.task} [job {self.job_id}]", self.timeout_s, self.job_id, error.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSender:
    """Sends bound calls of one app. At least once: see :mod:`taskq.broker.protocol` for what a confirmation means."""

    app: str
    broker: Broker
    clock: Clock
    registry: Registry
    replies: ReplyInbox
    emitter: Emitter
    limits: Limits

    async def enqueue(self, call: BoundCall[Any]) -> Job:
        """Send a call and return its job when the broker has confirmed it."""
        return await self.landed(self.begin(call))

    def begin(self, call: BoundCall[Any]) -> Sending:
        """Start to send a call, for :meth:`landed` to wait for. Raises before anything is sent."""
        options = call.options
        job_id = options.job_id or new_job_id()
        deadline = None if options.expires is None else options.deadline(self.clock.now())
        outgoing = self.outgoing(call, job_id, reply_to=None, deadline=deadline)
        return self._begun(call, job_id, outgoing, self.limits.publish_timeout_s)

    async def landed(self, sending: Sending) -> Job:
        """Return the job when the broker has confirmed it. Cancelling the wait withdraws what is not sent yet."""
        with suppress(PublishUnconfirmed):
            await sending.confirmation
        return self.end(sending)

    def end(self, sending: Sending) -> Job:
        """Return the job of a call whose confirmation is here, or raise its error."""
        try:
            sending.confirmation.result()
        except PublishUnconfirmed as error:
            raise sending.named(error) from None
        self._tell(sending)
        definition = sending.call.definition
        return Job(sending.job_id, definition.name, definition.queue)

    async def submit(self, call: BoundCall[T]) -> ResultJob[T]:
        """Send a call whose result comes back to this process."""
        timeout_s = self._reply_timeout_s(call)
        pending, sending = await self._begin_awaited(call, timeout_s, call.options.deadline(self.clock.now()))
        try:
            await self.landed(sending)
        except BaseException:
            pending.withdraw()
            raise
        return ResultJob(pending.job_id, call.task, call.queue, cast("PendingResult[T]", pending))

    async def call(self, call: BoundCall[T]) -> T:
        """Send a call and return its result. The job expires when this wait ends.

        Its confirmation is not waited for by itself: the reply says more, and may be here before it.
        """
        timeout_s = self._reply_timeout_s(call)
        now = self.clock.now()
        wait_ends = now + timeout_s
        deadline = min(call.options.deadline(now) or wait_ends, wait_ends)
        starts = call.options.not_before(now)
        if starts is not None and starts >= deadline:
            raise UsageError(f"{call.task}: the delay is longer than the wait for the result; raise reply_timeout")
        pending, sending = await self._begin_awaited(call, timeout_s, deadline)
        sending.confirmation.add_done_callback(partial(self._look, sending, pending))
        try:
            return cast("T", await pending.wait_once())
        except asyncio.CancelledError:
            sending.confirmation.cancel()
            raise
        except ResultTimeout:
            if not sending.confirmation.done():
                await self.landed(sending)  # its time is over as well, and its error says what is wrong
            raise
        finally:
            if sending.confirmation.cancel():  # who has replied has had the job: it is not to be sent once more
                self._tell(sending)

    def outgoing(self, call: BoundCall[Any], job_id: str, *, reply_to: str | None, deadline: float | None) -> Outgoing:
        """Return the message of a call and its route. Raises before anything is sent."""
        options, definition = call.options, call.definition
        if options.priority is not None:
            self._check_priority(call, options.priority)
        now = self.clock.now()
        eta = options.not_before(now)
        message = new_job(
            task=definition.name,
            job_id=job_id,
            queue=definition.queue,
            body=call.body,
            now=now,
            app_id=self.app,
            priority=options.priority,
            reply_to=reply_to,
            deadline=deadline,
            eta=eta,
            headers=options.headers,
        )
        if options.headers or len(message.body) + SIZE_OF_OURS > self.limits.max_message_bytes:
            check_size(message, self.limits.max_message_bytes, f"the call of {call.task}")
        return Outgoing(message, definition.queue, eta if eta is None or eta > now else None)

    async def _begin_awaited(
        self, call: BoundCall[Any], timeout_s: float, deadline: float | None
    ) -> tuple[PendingResult[object], Sending]:
        job_id = call.options.job_id or new_job_id()
        loop = asyncio.get_running_loop()
        began = loop.time()
        address = await self.replies.address(timeout_s)
        took_s = loop.time() - began
        # Waits of one length share a place in the table of limits, and nearly all find the inbox open.
        left_s = timeout_s if took_s < _LATENESS_S else max(0.0, timeout_s - took_s)
        outgoing = self.outgoing(call, job_id, reply_to=address, deadline=deadline)
        self.replies.check(job_id)
        # Who waits for the result waits for no confirmation beyond that.
        sending = self._begun(call, job_id, outgoing, min(self.limits.publish_timeout_s, left_s))
        # No reply can be here before this turn of the loop ends, and the message is on its way as early as can be.
        return self.replies.expect(job_id, call.definition, timeout_s, left_s), sending

    def _begun(self, call: BoundCall[Any], job_id: str, outgoing: Outgoing, timeout_s: float) -> Sending:
        return Sending(call, job_id, outgoing.not_before, timeout_s, self.broker.publish(outgoing, timeout_s=timeout_s))

    def _look(self, sending: Sending, pending: PendingResult[object], confirmation: asyncio.Future[None]) -> None:
        """End the wait for a result when its job could not be sent."""
        if confirmation.cancelled():
            return
        error = confirmation.exception()
        if error is None:
            self._tell(sending)
        elif isinstance(error, PublishUnconfirmed):
            pending.fail(sending.named(error))
        elif isinstance(error, Exception):
            pending.fail(error)

    def _tell(self, sending: Sending) -> None:
        if self.emitter.wants(JobEnqueued):
            call = sending.call
            self.emitter.emit(
                JobEnqueued(job_id=sending.job_id, task=call.task, queue=call.queue, not_before=sending.not_before)
            )

    def _reply_timeout_s(self, call: BoundCall[Any]) -> float:
        own = call.options.reply_timeout
        return self.limits.reply_timeout_s if own is None else seconds(own, "reply_timeout")

    def _check_priority(self, call: BoundCall[Any], priority: int) -> None:
        highest = self.registry.queue(call.queue).max_priority
        known = call.definition.run != "remote" or highest  # the queue of a stub belongs to somebody else
        if known and priority > highest:
            described = f"add_queue(Queue({call.queue!r}, type='classic', max_priority=…))"
            has = f"priorities up to {highest}" if highest else f"none; describe it with {described}"
            raise UsageError(f"{call.task}: priority {priority} on queue {call.queue!r}, which has {has}")
