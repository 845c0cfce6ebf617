"""Settling, and what overruns, dies, or is raised on the way."""

import asyncio
import multiprocessing
import threading
from pathlib import Path
from typing import Any

import pytest

from taskq import (
    ResultTimeout,
    Retry,
    TaskFailed,
    TaskQ,
)
from taskq.broker.protocol import Outgoing, Settlement
from taskq.broker.sqlite.packing import PackedMessage, pack
from taskq.errors import BrokerBlocked, MessageTooLarge, Unroutable, UsageError
from taskq.lifecycle import (
    DeliveryLost,
    ExecutionEnded,
    JobDead,
    JobHandedBack,
    JobSnoozed,
    JobStarted,
    JobSucceeded,
    SettleFailed,
    ThreadOverran,
)
from taskq.testing import Harness
from taskq.wire import headers as h
from taskq.wire.dead import DeadReason
from taskq.wire.job import new_job
from taskq.wire.message import Message
from taskq.worker.execute import Attempt
from tests.support import processtasks
from tests.support.jobs import FakeDelivery
from tests.support.kit import Kit, kit, noted, runs

__all__ = ["kit"]

# Settling.


def pipeline_of(kit: Kit) -> Any:
    worker: Any = kit.app.worker()
    return worker._pipeline


async def test_message_that_came_back_too_often_is_a_full_dead_letter(kit: Kit) -> None:
    message = new_job(task="noted", job_id="j", queue="default", body=b'{"n":1}', now=1.0, reply_to="r", headers=None)
    delivery = FakeDelivery(message, redeliveries=20)
    await pipeline_of(kit).handle(delivery, Attempt())
    ((messages, _),) = delivery.settled
    assert [out.queue for out in messages] == ["r", "default.dead"]
    assert messages[1].message.headers[h.DEAD_REASON] == DeadReason.DELIVERY_LIMIT
    assert messages[1].message.headers[h.EXECUTION] == 21
    assert runs == []


async def test_lost_delivery_is_told_as_such_and_counts_nothing(kit: Kit) -> None:
    pipeline = pipeline_of(kit)
    delivery = FakeDelivery(Message(body=b"\xff", message_id="m"), settlement=Settlement.LOST)
    await pipeline.handle(delivery, Attempt())
    assert [type(e) for e in kit.h.events if isinstance(e, ExecutionEnded)] == [DeliveryLost]
    assert pipeline.tally.dead == 0


async def test_queue_that_was_deleted_meanwhile_is_declared_again(kit: Kit) -> None:
    pipeline = pipeline_of(kit)
    made = new_job(task="noted", job_id="j", queue="default", body=b'{"n":1}', now=1.0)
    delivery = FakeDelivery(made, troubles=[Unroutable("default.dead")])
    declared: list[str] = []

    class Declaring:
        async def declare(self, queues: Any, **further: Any) -> None:
            declared.extend(queue.name for queue in queues)

    pipeline.broker = Declaring()
    await pipeline.handle(delivery, Attempt())
    assert declared == ["default"]
    assert len(delivery.settled) == 1


async def test_settling_goes_on_with_pauses_for_as_long_as_the_broker_takes_nothing(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    class Sleepless:
        sleep = staticmethod(pause)

    monkeypatch.setattr("taskq.worker.pipeline.asyncio", Sleepless, raising=True)
    monkeypatch.setattr(Sleepless, "get_running_loop", asyncio.get_running_loop, raising=False)
    made = new_job(task="noted", job_id="j", queue="default", body=b'{"n":1}', now=1.0)
    delivery = FakeDelivery(made, troubles=[BrokerBlocked("full")] * 4)
    await pipeline_of(kit).handle(delivery, Attempt())
    assert len(delivery.settled) == 1
    assert pauses == [0.0, 1.0, 1.0, 1.0]
    assert [(e.job_id, e.error) for e in kit.h.events if isinstance(e, SettleFailed)] == [("j", "full")]


async def test_what_the_broker_never_takes_is_buried_instead_and_not_tried_for_ever(kit: Kit) -> None:
    made = new_job(task="noted", job_id="j", queue="default", body=b'{"n":1}', now=1.0, reply_to="r")
    refusals = [MessageTooLarge("the message", size, 3, fixed=True) for size in (1, 7, 99)]
    delivery = FakeDelivery(made, troubles=[*refusals, UsageError("AMQP cannot carry this message")])
    pipeline = pipeline_of(kit)
    await pipeline.handle(delivery, Attempt())
    (((letter,), _),) = delivery.settled
    assert (letter.queue, letter.message.body) == ("default.dead", b"")
    assert letter.message.headers[h.DEAD_REASON] == DeadReason.INVALID_RESULT
    assert pipeline.tally.dead == 1
    (dead,) = [e for e in kit.h.events if isinstance(e, JobDead)]
    assert (dead.reason, [e for e in kit.h.events if isinstance(e, SettleFailed)]) == ("invalid-result", [])
    assert "its result cannot be sent: the message has 1 bytes, above the limit of 3" in dead.error


async def test_a_dead_letter_that_cannot_be_made_smaller_ends_the_worker_and_no_job(kit: Kit) -> None:
    made = new_job(task="noted", job_id="j", queue="default", body=b'{"n":1}', now=1.0, reply_to="r")
    delivery = FakeDelivery(made, troubles=[UsageError(f"no {number}") for number in range(9)])
    with pytest.raises(UsageError, match="no 4"):
        await pipeline_of(kit).handle(delivery, Attempt())
    assert delivery.settled == []


async def test_a_job_that_cannot_be_handed_back_goes_back_with_its_consumer(kit: Kit) -> None:
    made = new_job(task="noted", job_id="j", queue="default", body=b'{"n":1}', now=1.0)
    delivery = FakeDelivery(made, troubles=[MessageTooLarge("the message", 9, 3, fixed=True)])
    await pipeline_of(kit).hand_back(delivery, Attempt())
    assert delivery.settled == []
    assert [type(e) for e in kit.h.events if isinstance(e, ExecutionEnded)] == [DeliveryLost]


async def test_a_result_that_the_embedded_broker_refuses_frees_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    own: TaskQ[Any] = TaskQ("own", concurrency=1)

    @own.task
    async def long(size: int) -> str:
        return "x" * size

    def refusing(outgoing: Outgoing, now: float) -> PackedMessage:
        if len(outgoing.message.body) > 3_000:
            raise MessageTooLarge("the message", len(outgoing.message.body), 3_000, fixed=True)
        return pack(outgoing, now)

    monkeypatch.setattr("taskq.broker.sqlite.consumer.pack", refusing)
    async with Harness(own) as harness:
        with pytest.raises(TaskFailed, match="its result cannot be sent: the message has 5,002 bytes") as caught:
            await long.call(5_000)
        assert caught.value.reason == DeadReason.INVALID_RESULT
        assert await long.call(1) == "x"
        await harness.drain()
        assert [letter.reason for letter in harness.dead] == ["invalid-result"]


async def test_events_of_an_execution_say_when_it_started_and_ended(kit: Kit) -> None:
    job = await noted.with_options(delay=7).submit(1)
    await kit.h.advance(10)
    assert await job.result() == 1
    (started,) = [e for e in kit.h.events if isinstance(e, JobStarted)]
    (ended,) = [e for e in kit.h.events if isinstance(e, JobSucceeded)]
    assert (started.job_id, started.attempt, started.waited_s) == (job.id, 1, 7.0)
    assert (ended.job_id, ended.task, ended.queue, ended.replied) == (job.id, "noted", "default", True)


async def test_thread_that_overruns_keeps_its_slot_until_it_ends_while_its_job_is_settled_at_once() -> None:
    own: TaskQ[Any] = TaskQ("own")
    release, begun = threading.Event(), list[int]()

    @own.task(timeout=0.05)
    def stuck(n: int) -> None:
        begun.append(n)
        if n == 1:
            release.wait(10)

    try:
        async with Harness(own) as harness:
            first, second = await stuck.submit(1), await stuck.submit(2)
            with pytest.raises(TaskFailed, match=r"time limit of 0\.05 s") as caught:
                await first.result()
            assert caught.value.reason == DeadReason.TIMED_OUT
            with pytest.raises(ResultTimeout):
                await second.result(timeout=0.1)
            assert begun == [1]
            assert [type(e) for e in harness.events if isinstance(e, ThreadOverran | JobDead)] == [
                ThreadOverran,
                JobDead,
            ]
            release.set()
            await second.result()
            assert begun == [1, 2]
    finally:
        release.set()


async def test_thread_that_a_shutdown_cuts_is_handed_back_and_not_called_late() -> None:
    own: TaskQ[Any] = TaskQ("own")
    release, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @own.task
    def stuck() -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait(10)

    try:
        async with Harness(own) as harness:
            await stuck.enqueue()
            await begun.wait()
        kinds = [type(e) for e in harness.events if isinstance(e, ThreadOverran | ExecutionEnded)]
        assert kinds == [JobHandedBack]
    finally:
        release.set()


@pytest.mark.parametrize("error", [Retry("later"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
async def test_worker_goes_on_after_whatever_a_task_raises(error: BaseException) -> None:
    own: TaskQ[Any] = TaskQ("own")

    @own.task
    async def breaks() -> None:
        raise error

    @own.task
    def breaks_in_a_thread() -> None:
        raise error

    @own.task
    async def works() -> int:
        return 1

    async with Harness(own) as harness:
        for task in (breaks, breaks_in_a_thread):
            job = await task.submit()
            with pytest.raises(TaskFailed):
                await job.result()
        job = await works.submit()
        assert await job.result() == 1
        await harness.drain()
        assert len(harness.dead) == 2


async def test_process_tasks_work_fail_and_are_ended_by_their_time_limit(tmp_path: Path) -> None:
    own: TaskQ[Any] = TaskQ("own", timeout=3)
    own.include(processtasks.router)
    before = set(multiprocessing.active_children())
    async with Harness(own) as harness:
        assert await processtasks.add.call(1, b=2) == 3
        with pytest.raises(TaskFailed, match="killed by SIGKILL") as killed:
            await processtasks.die.call("SIGKILL")
        assert (killed.value.reason, killed.value.remote_type) == ("failed", "taskq.worker.processes.ProcessDied")
        job = await processtasks.hang.submit(str(tmp_path / "begun"))
        with pytest.raises(TaskFailed, match="time limit of 3 s") as late:
            await job.result()
        assert late.value.reason == "timed-out"
        await processtasks.fail.enqueue("snooze")
        await processtasks.fail.enqueue("reject")
        await harness.drain()
        assert JobSnoozed in [type(event) for event in harness.events]
        assert [letter.reason for letter in harness.dead] == ["failed", "timed-out", "rejected"]
    assert set(multiprocessing.active_children()) <= before
