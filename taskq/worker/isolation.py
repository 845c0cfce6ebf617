"""A job that was in flight at several deaths of workers is run alone, so that a death of its making is counted for
nobody else.

Theory of operation. All that a process holds unsettled when it dies comes back with one more redelivery, the innocent
with the culprit. So a delivery that came back often enough is a *suspect*. Its worker

1. pauses its consumers, all of them, since a death takes the whole process; then what came in meanwhile is given back
   with its count kept, other suspects too (not before: it would come again, and a cancel that overtakes it counts);
2. lets the jobs that run end, by themselves; nothing else is unsettled in this process then, and the broker knows;
3. runs the suspect, unless the broker has taken it away meanwhile;
4. takes from the suspect's queue one message at a time, for as long as they are suspects, and runs them likewise;
5. resumes its consumers.

Thus what a culprit shares with others is the deaths before it was suspected; each that follows is its own.

Not waited for: threads that overran, whose jobs are settled, and temporary subscriptions, whose messages never come
back. A worker that runs one job at a time anyway needs none of this.

Nobody is held for ever. A job that runs may wait for the result of another one, of a queue that is paused here, and
that nobody else may take; what runs may not end although its time is over. Then the consumers go on, and the suspect
runs beside others. When the worker stops, what waits for its turn is given back.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from taskq.broker.protocol import Consumer, Delivery
from taskq.errors import TaskqError
from taskq.lifecycle import IsolationEnded, JobGivenBack, JobIsolated
from taskq.wire.job import job_id_of
from taskq.worker.execute import Attempt
from taskq.worker.pipeline import Pipeline

Task = asyncio.Task[None]

_LOOK_S = 1.0  # how often to look whether somebody waits for what is paused
_MARGIN_S = 5.0  # how long a job may take to be settled when its time is over
_NEXT_S = 0.1  # how long the next suspect of a queue may be on its way
_RETURN_S = 5.0  # how long to wait for a broker to take back what is given back
_REST_S = 10.0  # how long nobody is run alone after somebody waited for what was paused
_DEATHS = 2
_NEVER = sys.maxsize

_AWAITED = "a job that runs here waits for one of a queue that would stand still meanwhile"
_ENDLESS = "what runs here does not end"


def suspected_from(delivery_limit: int) -> int:
    """Return the number of redeliveries from which a job is run alone.

    It leaves a job that shared that many deaths at least one run of its own before it is buried, at
    ``delivery_limit``; with a limit of 1 there is none to leave.
    """
    return max(1, min(_DEATHS, delivery_limit - 1))


class Isolation:
    """Of one worker. ``running``: what it executes now; ``begin`` executes a delivery; ``failed`` gets faults of ours.

    ``looks_from``: deliveries with as many redeliveries are to be offered to :meth:`takes`.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        running: Mapping[Task, tuple[Attempt, Delivery]],
        begin: Callable[[Delivery], Task],
        failed: Callable[[BaseException], None],
    ) -> None:
        catalogue = pipeline.catalogue
        self._pipeline = pipeline
        self._running = running
        self._begin = begin
        self._failed = failed
        self._slots = {name: slots for name, slots in pipeline.slots.items() if name not in catalogue.temporary}
        self._usually = 1 if sum(self._slots.values()) > 1 else _NEVER
        self.looks_from = self._usually
        self._consumers: dict[str, Consumer] = {}
        self._consuming = asyncio.Event()
        self._suspect: Delivery | None = None  # waits for its turn
        self._arrived = asyncio.Event()
        self._late: list[Delivery] = []  # go back when nothing more can come
        self._one_by_one = False
        self._returning: set[Task] = set()
        self._task: Task | None = None
        self._rests_until = 0.0
        self._over = False

    @property
    def busy(self) -> bool:
        """Whether it holds a delivery that does not run, or the worker's consumers are paused."""
        return self.looks_from == 0 or bool(self._returning)

    def use(self, consumers: Mapping[str, Consumer]) -> None:
        """Pause and resume these, by queue; a suspect that came before waits for that."""
        self._consumers = {name: consumers[name] for name in self._slots}
        self._consuming.set()

    def takes(self, delivery: Delivery) -> bool:
        """Say whether it takes charge of a delivery; else that is to be executed."""
        if delivery.queue not in self._slots:
            return False
        limit = self._pipeline.catalogue.queues[delivery.queue].delivery_limit
        if delivery.redeliveries >= limit:
            return False  # it is buried, and not run
        suspected = delivery.redeliveries >= suspected_from(limit)
        isolating = self.looks_from == 0
        if not isolating and (not suspected or self._rests()):
            return False
        may_wait = self._one_by_one if isolating else not self._over
        if suspected and may_wait and self._suspect is None:
            self._hold(delivery)
        else:
            self._late.append(delivery)
        self._arrived.set()
        return True

    async def end(self, stopped: Awaitable[object]) -> None:
        """Run nobody alone any more; when the consumers have stopped, give back who waits, if the broker answers."""
        self._over, self._one_by_one = True, False
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await stopped
        if self._suspect is not None:
            self._give_back(self._suspect)
            self._suspect = None
        self._give_back_late()
        if self._returning:
            await asyncio.wait(self._returning, timeout=_RETURN_S)

    def _hold(self, delivery: Delivery) -> None:
        self._suspect, self.looks_from = delivery, 0
        self._pipeline.emitter.emit(
            JobIsolated(
                job_id=job_id_of(delivery.message),
                task=self._task_of(delivery),
                queue=delivery.queue,
                deaths=delivery.redeliveries,
                running=len(self._unsettled()),
            )
        )
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._isolate(), name="taskq: isolation")
            self._task.add_done_callback(self._ended)

    def _ended(self, task: Task) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    async def _isolate(self) -> None:
        await self._consuming.wait()
        while self._suspect is not None:
            await self._pause()
            await self._one_after_the_other(self._suspect)
            self.looks_from = self._usually
            await self._set_prefetches(self._slots)  # another suspect may come now, and waits for this

    async def _one_after_the_other(self, suspect: Delivery) -> None:
        """Run a suspect alone, and those that come next; the consumers are paused."""
        reason = await self._until_none(self._unsettled, self._patience_s(suspect))
        if reason is not None:
            self._break_off(suspect, reason)
            await self._begin_if_ours(suspect)
            return
        await self._pause()  # again, so that the broker has taken note of what was settled last
        self._one_by_one = True
        while self._suspect is not None and await self._run_alone(self._suspect):
            await self._look_for_next(self._consumers[suspect.queue])
        self._one_by_one = False
        if self._returning:
            await asyncio.wait(self._returning, timeout=_RETURN_S)

    async def _run_alone(self, suspect: Delivery) -> bool:
        """Run it, unless it is somebody else's by now. False: it runs on beside others."""
        if self._returning:
            await asyncio.wait(self._returning, timeout=_RETURN_S)
        task = await self._begin_if_ours(suspect)
        if task is None:
            return True
        reason = await self._until_none(lambda: _open({task}), self._limit_s(suspect) + _MARGIN_S)
        if reason is not None:
            self._break_off(suspect, reason)
        return reason is None

    async def _begin_if_ours(self, suspect: Delivery) -> Task | None:
        try:
            ours = await suspect.is_ours()
        except TaskqError:
            ours = False
        self._suspect = None
        self._arrived.clear()
        if ours:
            return self._begin(suspect)
        self._return(suspect)  # which frees its slot, and does no more
        return None

    async def _look_for_next(self, consumer: Consumer) -> None:
        """Let one more delivery come; when it is no suspect, or none is there, pause the consumer again."""
        await consumer.set_prefetch(1)
        with suppress(TimeoutError):
            async with asyncio.timeout(_NEXT_S):
                await self._arrived.wait()
        if self._suspect is None:
            await consumer.set_prefetch(0)
            self._give_back_late()

    async def _until_none(self, unsettled: Callable[[], set[Task]], within_s: float) -> str | None:
        """Wait until nothing is unsettled; else return why that is not waited for."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while waiting := unsettled():
            left_s = until - loop.time()
            if left_s <= 0:
                return _ENDLESS
            await asyncio.wait(waiting, timeout=min(_LOOK_S, left_s))
            if unsettled() and any(self._pipeline.awaited[queue] > 0 for queue in self._slots):
                self._rests_until = loop.time() + _REST_S
                return _AWAITED
        return None

    def _break_off(self, suspect: Delivery, reason: str) -> None:
        task, job_id = self._task_of(suspect), job_id_of(suspect.message)
        self._pipeline.emitter.emit(IsolationEnded(job_id=job_id, task=task, queue=suspect.queue, reason=reason))

    def _give_back_late(self) -> None:
        late, self._late = self._late, []
        for delivery in late:
            self._give_back(delivery)

    def _give_back(self, delivery: Delivery) -> None:
        job_id, task = job_id_of(delivery.message), self._task_of(delivery)
        self._pipeline.emitter.emit(JobGivenBack(job_id=job_id, task=task, queue=delivery.queue))
        self._return(delivery)

    def _return(self, delivery: Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._returned(delivery))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def _returned(self, delivery: Delivery) -> None:
        try:
            await delivery.give_back()
        except TaskqError:  # its queue is full, or was deleted
            if not self._over:  # else closing the consumer gives it back
                self._begin(delivery)

    async def _pause(self) -> None:
        await self._set_prefetches(dict.fromkeys(self._slots, 0))
        self._give_back_late()

    async def _set_prefetches(self, numbers: Mapping[str, int]) -> None:
        await asyncio.gather(*(self._consumers[queue].set_prefetch(number) for queue, number in numbers.items()))

    def _rests(self) -> bool:
        return asyncio.get_running_loop().time() < self._rests_until

    def _unsettled(self) -> set[Task]:
        """Return what has to end before a suspect is alone."""
        running = {task for task, (_, delivery) in self._running.items() if delivery.queue in self._slots}
        return _open(running | self._returning)

    def _patience_s(self, suspect: Delivery) -> float:
        """Return how long what runs may take to end, and the broker leaves the suspect to us besides its own time."""
        longest_s = self._longest_s() + _MARGIN_S
        ack_timeout_s = self._pipeline.broker.ack_timeout_s
        if ack_timeout_s is None:
            return longest_s
        return min(longest_s, max(_LOOK_S, ack_timeout_s - self._limit_s(suspect) - _MARGIN_S))

    def _limit_s(self, delivery: Delivery) -> float:
        return self._pipeline.catalogue.timeouts_s.get(self._task_of(delivery) or "", self._longest_s())

    def _longest_s(self) -> float:
        return max(self._pipeline.catalogue.timeouts_s.values(), default=0.0)

    def _task_of(self, delivery: Delivery) -> str | None:
        return self._pipeline.catalogue.task_at(delivery.queue, delivery.message.type)


def _open(tasks: set[Task]) -> set[Task]:
    return {task for task in tasks if not task.done()}
