"""From a bound call to a confirmed job. One for each open app; it implements :class:`taskq.tasks.call.Sender`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from taskq.broker.protocol import Broker, Outgoing
from taskq.client.replies import PendingResult, ReplyInbox
from taskq.clock import Clock
from taskq.errors import PublishUnconfirmed, UsageError
from taskq.lifecycle import Emitter, JobEnqueued
from taskq.tasks.call import BoundCall
from taskq.tasks.duration import seconds
from taskq.tasks.job import Job, ResultJob
from taskq.tasks.registry import Registry
from taskq.wire.ids import new_job_id
from taskq.wire.job import new_job
from taskq.wire.message import check_size

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a sender keeps to. Times are seconds, sizes bytes."""

    publish_timeout_s: float
    reply_timeout_s: float
    max_message_bytes: int


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
        job_id = call.options.job_id or new_job_id()
        outgoing = self.outgoing(call, job_id, reply_to=None, deadline=call.options.deadline(self.clock.now()))
        await self._confirmed(call, job_id, outgoing, self.limits.publish_timeout_s)
        return Job(job_id, call.task, call.queue)

    async def submit(self, call: BoundCall[T]) -> ResultJob[T]:
        """Send a call whose result comes back to this process."""
        timeout_s = self._reply_timeout_s(call)
        pending = await self._send_awaited(call, timeout_s, call.options.deadline(self.clock.now()))
        return ResultJob(pending.job_id, call.task, call.queue, cast("PendingResult[T]", pending))

    async def call(self, call: BoundCall[T]) -> T:
        """Send a call and return its result. The job expires when this wait ends."""
        timeout_s = self._reply_timeout_s(call)
        now = self.clock.now()
        wait_ends = now + timeout_s
        deadline = min(call.options.deadline(now) or wait_ends, wait_ends)
        starts = call.options.not_before(now)
        if starts is not None and starts >= deadline:
            raise UsageError(f"{call.task}: the delay is longer than the wait for the result; raise reply_timeout")
        pending = await self._send_awaited(call, timeout_s, deadline)
        return cast("T", await pending.wait_once())

    def outgoing(self, call: BoundCall[Any], job_id: str, *, reply_to: str | None, deadline: float | None) -> Outgoing:
        """Return the message of a call and its route. Raises before anything is sent."""
        options = call.options
        if options.priority is not None:
            self._check_priority(call, options.priority)
        now = self.clock.now()
        eta = options.not_before(now)
        message = new_job(
            task=call.task,
            job_id=job_id,
            queue=call.queue,
            body=call.body,
            now=now,
            app_id=self.app,
            priority=options.priority,
            reply_to=reply_to,
            deadline=deadline,
            eta=eta,
            headers=options.headers,
        )
        check_size(message, self.limits.max_message_bytes, f"the call of {call.task}")
        return Outgoing(message, call.queue, not_before=eta if eta is None or eta > now else None)

    async def _send_awaited(
        self, call: BoundCall[Any], timeout_s: float, deadline: float | None
    ) -> PendingResult[object]:
        job_id = call.options.job_id or new_job_id()
        loop = asyncio.get_running_loop()
        began = loop.time()
        address = await self.replies.address(timeout_s)
        left_s = timeout_s - round(loop.time() - began, 1)
        outgoing = self.outgoing(call, job_id, reply_to=address, deadline=deadline)
        pending = self.replies.expect(job_id, call.definition, timeout_s, since=began)
        try:
            # Who waits for the result waits for no confirmation beyond that.
            await self._confirmed(call, job_id, outgoing, min(self.limits.publish_timeout_s, left_s))
        except BaseException:
            pending.withdraw()
            raise
        return pending

    async def _confirmed(self, call: BoundCall[Any], job_id: str, outgoing: Outgoing, timeout_s: float) -> None:
        try:
            await self.broker.publish(outgoing, timeout_s=timeout_s)
        except PublishUnconfirmed as error:
            raise PublishUnconfirmed(f"{call.task} [job {job_id}]", timeout_s, job_id, error.reason) from None
        if self.emitter.wants(JobEnqueued):
            enqueued = JobEnqueued(job_id=job_id, task=call.task, queue=call.queue, not_before=outgoing.not_before)
            self.emitter.emit(enqueued)

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
