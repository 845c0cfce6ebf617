"""The way of one delivery through a worker: read, prepare, execute, decide, settle, tell."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from taskq.broker.protocol import Broker, Delivery, Settlement
from taskq.clock import Clock
from taskq.errors import BrokerError, MessageTooLarge, UsageError
from taskq.lifecycle import DeliveryLost, Emitter, JobStarted, SettleFailed, ThreadOverran
from taskq.tasks.context import Context, JobLog, Running, current_context
from taskq.timelimits import TimeLimits
from taskq.wire import headers as h
from taskq.wire.job import JobMessage
from taskq.worker.decide import decide, decide_temporary
from taskq.worker.execute import Attempt, Middleware, execute
from taskq.worker.outcome import NO_RESULT, Interrupted, Outcome, TimedOut
from taskq.worker.prepare import Catalogue, Prepared, prepare, read
from taskq.worker.refusal import instead
from taskq.worker.settle import identify, replacements
from taskq.worker.tell import Ended, ended_event, event_of
from taskq.worker.verdict import NO_REPLY, Bury, HandBack, TryAgain, Verdict

if TYPE_CHECKING:
    from taskq.worker.processes import Processes

_SETTLE_PAUSE_S = 1.0


@dataclass(slots=True)
class Tally:
    """What a worker did so far. ``executed`` counts executions from their start, ``dead`` dead letters.

    ``last_retry_at``: when the last of the retries that it put off is due (epoch seconds). ``limit``: after how many
    executions it takes no more jobs.
    """

    executed: int = 0
    dead: int = 0
    last_retry_at: float = 0.0
    limit: int | None = None

    @property
    def full(self) -> bool:
        """Whether it has begun as many executions as it may."""
        return self.limit is not None and self.executed >= self.limit


@dataclass(slots=True, kw_only=True)
class Pipeline:
    """What executions share: the broker, the app's tables, and the worker's own state.

    ``awaited``: for how many jobs of each queue they wait now. ``processes`` are there when a task runs in one.
    """

    broker: Broker
    clock: Clock
    catalogue: Catalogue
    slots: dict[str, int]
    middleware: tuple[Middleware, ...]
    emitter: Emitter
    max_result_bytes: int
    processes: Processes | None
    rng: Random
    state: Any = None
    tally: Tally = field(default_factory=Tally)
    limits: TimeLimits = field(default_factory=TimeLimits)
    awaited: Counter[str] = field(default_factory=Counter[str])

    async def handle(self, delivery: Delivery, attempt: Attempt) -> None:
        """Take a delivery to its end. It raises only when it is cancelled from outside."""
        attempt.began = self.clock.monotonic()
        job, outcome = await self._outcome(delivery, attempt)
        await self._conclude(outcome, delivery, job, attempt)

    async def hand_back(self, delivery: Delivery, attempt: Attempt) -> None:
        """Hand back the job of an attempt that was cut and does not end. What it still does settles to nothing."""
        job = read(delivery)
        if isinstance(job, JobMessage):
            await self._conclude(Interrupted(), delivery, job, attempt)

    async def _conclude(self, outcome: Outcome, delivery: Delivery, job: JobMessage | None, attempt: Attempt) -> None:
        duration_s = self.clock.monotonic() - attempt.began
        verdict = NO_REPLY if outcome is NO_RESULT else self._decided(outcome, delivery, job)
        job_id = identify(delivery, job)
        verdict, settlement = await self._settle(verdict, delivery, job, job_id, attempt)
        lost = settlement is Settlement.LOST
        if not lost and verdict is not NO_REPLY:
            self._count(verdict)
        kind = DeliveryLost if lost else event_of(verdict)
        if self.emitter.wants(kind):
            ended = Ended(
                job_id=job_id,
                task=self.catalogue.task_at(delivery.queue, delivery.message.type),
                queue=delivery.queue,
                attempt=job.attempt if job else 1,
                execution=(job.execution if job else 1) + delivery.redeliveries,
                duration_s=duration_s,
            )
            replied = bool(delivery.message.reply_to)
            self.emitter.emit(DeliveryLost(**ended) if lost else ended_event(verdict, ended, replied=replied))

    def _decided(self, outcome: Outcome, delivery: Delivery, job: JobMessage | None) -> Verdict:
        verdict = decide(outcome, job, self.catalogue.policy_of(job), now=self.clock.now(), rng=self.rng)
        temporary = delivery.queue in self.catalogue.temporary
        return decide_temporary(outcome, verdict) if temporary else verdict

    async def _outcome(self, delivery: Delivery, attempt: Attempt) -> tuple[JobMessage | None, Outcome]:
        job = read(delivery)
        if not isinstance(job, JobMessage):
            return None, job
        prepared = prepare(job, delivery, self.catalogue, now=self.clock.now())
        if not isinstance(prepared, Prepared):
            return job, prepared
        self.tally.executed += 1
        ends = self.clock.now() + prepared.timeout_s
        running = Running(partial(self._context, prepared, delivery, ends, asyncio.get_running_loop()))
        if self.emitter.wants(JobStarted):
            self._tell_start(running.context, prepared)
        current_context.set(running)
        outcome = await execute(
            prepared,
            running,
            attempt,
            middleware=self.middleware,
            processes=self.processes,
            limits=self.limits,
            max_result_bytes=self.max_result_bytes,
        )
        current_context.set(None)
        if isinstance(outcome, TimedOut) and attempt.overruns:
            self._tell_overrun(running.context, prepared)
        return job, outcome

    async def _settle(
        self, verdict: Verdict, delivery: Delivery, job: JobMessage | None, job_id: str, attempt: Attempt
    ) -> tuple[Verdict, Settlement]:
        """Settle until it is done or lost, and return the verdict that was carried out.

        A queue that was deleted meanwhile is declared again. What the broker will never take is buried instead. The
        slot is kept while a thread overruns, and for good when the worker is to take no more jobs.
        """
        messages = replacements(verdict, delivery, job, job_id=job_id, now=self.clock.now())
        overrunning = attempt.thread if attempt.overruns else None
        pause_s = 0.0
        while True:
            try:
                settlement = await delivery.settle(messages, keep_slot=overrunning is not None or self.tally.full)
                break
            except (MessageTooLarge, UsageError) as error:
                if isinstance(verdict, HandBack):
                    return verdict, Settlement.LOST  # closing the consumer gives the message back, as it is
                verdict = instead(verdict, error, delivery.message)
                messages = replacements(verdict, delivery, job, job_id=job_id, now=self.clock.now())
            except BrokerError as error:
                if not pause_s:
                    self._tell_refused(delivery, job_id, error)
                await asyncio.sleep(pause_s)
                await self._repair(delivery.queue)
                pause_s = _SETTLE_PAUSE_S
        if overrunning is not None and not self.tally.full:
            overrunning.add_done_callback(lambda _: delivery.release_slot())
        return verdict, settlement

    def _tell_refused(self, delivery: Delivery, job_id: str, error: BrokerError) -> None:
        task = self.catalogue.task_at(delivery.queue, delivery.message.type)
        self.emitter.emit(SettleFailed(job_id=job_id, task=task, queue=delivery.queue, error=str(error)))

    async def _repair(self, queue: str) -> None:
        known = self.catalogue
        if queue in known.temporary:
            return
        bindings = [binding for binding in known.bindings if binding.queue == queue]
        with suppress(BrokerError):
            await self.broker.declare([known.queues[queue]], exchanges=known.exchanges, bindings=bindings)

    def _count(self, verdict: Verdict) -> None:
        if isinstance(verdict, Bury):
            self.tally.dead += 1
        elif isinstance(verdict, TryAgain):
            self.tally.last_retry_at = max(self.tally.last_retry_at, verdict.at)
        elif isinstance(verdict, HandBack):
            self.tally.executed -= 1

    def _context(
        self, prepared: Prepared, delivery: Delivery, ends: float, loop: asyncio.AbstractEventLoop
    ) -> Context[Any]:
        job, name = prepared.job, prepared.definition.name
        return Context(
            job_id=job.job_id,
            task=name,
            queue=job.queue,
            attempt=job.attempt,
            execution=job.execution + delivery.redeliveries,
            deadline=datetime.fromtimestamp(ends, UTC),
            state=self.state,
            headers=h.users(job.message.headers),
            log=JobLog(job_id=job.job_id, task=name, queue=job.queue, attempt=job.attempt),
            slots=self.slots[job.queue],
            awaited=self.awaited,
            _loop=loop,
        )

    def _tell_start(self, context: Context[Any], prepared: Prepared) -> None:
        since = prepared.job.enqueued_at
        self.emitter.emit(
            JobStarted(
                job_id=context.job_id,
                task=context.task,
                queue=context.queue,
                attempt=context.attempt,
                execution=context.execution,
                waited_s=None if since is None else max(0.0, self.clock.now() - since),
            )
        )

    def _tell_overrun(self, context: Context[Any], prepared: Prepared) -> None:
        self.emitter.emit(
            ThreadOverran(
                job_id=context.job_id,
                task=context.task,
                queue=context.queue,
                attempt=context.attempt,
                execution=context.execution,
                timeout_s=prepared.timeout_s,
            )
        )
