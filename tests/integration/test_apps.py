"""An app on RabbitMQ, from declaring to dead letters, where it differs from one on a file."""

import asyncio
import os
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pamqp import commands

from taskq import EnqueueManyFailed, Queue, RetryPolicy, TaskQ, UsageError
from taskq.broker.amqp.broker import AmqpBroker
from taskq.broker.amqp.ladder import way_out
from taskq.clock import SystemClock
from taskq.worker.worker import Worker
from tests.conformance.stand import Catch, to
from tests.support.waiting import eventually

pytestmark = pytest.mark.broker_problems("not_found")  # how RabbitMQ is asked whether a queue exists


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        await worker.started.wait()
        yield
    finally:
        worker.stop("the test is over")
        await task


async def test_a_time_limit_above_the_brokers_acknowledgement_timeout_is_refused_at_start(amqp_url: str) -> None:
    app = TaskQ("shop", url=amqp_url)

    @app.task(timeout=1800)
    async def crawl() -> None: ...

    async with app:
        with pytest.raises(UsageError, match=r"may run for 1800 s, but RabbitMQ takes a job back .* TASKQ_ACK_TIMEOUT"):
            app.worker()
    app = TaskQ("shop", url=amqp_url, ack_timeout=7200)
    app.task(timeout=1800, name="crawl")(crawl.definition.function)
    async with app:
        app.worker()


async def test_what_the_broker_dead_letters_itself_is_shown_and_put_back_like_ours(amqp_url: str) -> None:
    app = TaskQ("shop", url=amqp_url)
    app.add_queue(Queue("work", delivery_limit=1))
    ran: list[int] = []

    @app.task(queue="work")
    async def note(number: int) -> None:
        ran.append(number)

    async with app:
        job = await note.enqueue(7)
        for _ in range(2):
            await take_and_drop(amqp_url, "work")
        (letter,) = await eventually(lambda: app.dead_letters.list("work"), "the broker has moved it")
        assert (letter.job_id, letter.task, letter.reason) == (job.id, "note", "delivery-limit")
        assert letter.died_at is not None
        assert await app.dead_letters.retry("work") == 1
        async with running(app.worker()):
            await eventually(lambda: ran == [7], "it ran after all")
        assert await app.dead_letters.list("work") == []


async def take_and_drop(url: str, queue: str) -> None:
    """Consume one message as a worker does that is lost with it."""
    taken = asyncio.Event()
    async with AmqpBroker(url, clock=SystemClock()) as broker:
        await broker.consume(queue, prefetch=1, deliver=lambda delivery: taken.set())
        await taken.wait()


async def test_a_queue_that_was_deleted_and_made_again_still_gets_its_delayed_jobs(amqp_url: str) -> None:
    app = TaskQ("shop", url=amqp_url)
    ran: list[str] = []

    @app.task(retry=RetryPolicy(attempts=2))
    async def note(text: str) -> None:
        ran.append(text)

    async with app, AmqpBroker(amqp_url, clock=SystemClock()) as other, running(app.worker()):
        await note.with_options(delay=0.1).enqueue("first")
        await eventually(lambda: ran == ["first"], "the ladder is there")
        await other.declarer.delete("default")
        await eventually(lambda: other.declarer.counts("default"), "the worker makes its queue again")
        await note.with_options(delay=0.1).enqueue("second")
        await eventually(lambda: ran == ["first", "second"], "the way out is there again")


async def test_who_consumes_a_queue_again_restores_its_way_out_of_the_ladder_for_others(amqp_url: str) -> None:
    catch, way = Catch(), way_out("work")
    consuming, sending = (AmqpBroker(amqp_url, clock=SystemClock()) for _ in range(2))
    async with consuming, sending:
        await consuming.declare([Queue("work")])
        await consuming.consume("work", prefetch=1, deliver=catch)
        await sending.publish(to("work", b"first", not_before=time.time() + 0.05), timeout_s=5)
        assert await catch.settled() == b"first"
        channel = await consuming.open_channel()  # as it goes with its queue
        await channel.call(commands.Queue.Unbind(queue="work", exchange=way.source, routing_key=way.key))
        await channel.close()
        await consuming.redeclare("work")
        await sending.publish(to("work", b"second", not_before=time.time() + 0.05), timeout_s=5)
        assert await catch.settled() == b"second"


async def test_use_on_another_event_loop_is_refused_and_stores_nothing(amqp_url: str) -> None:
    app = TaskQ("loops", url=amqp_url)

    @app.task
    async def work() -> None: ...

    async with app:
        for use in (work.enqueue, work.submit, work.call):
            with pytest.raises(UsageError, match="opened on another event loop"):
                await asyncio.to_thread(asyncio.run, use())
        await work.submit()  # now the reply queue is there
        for use in (work.submit, work.call):
            with pytest.raises(UsageError, match="opened on another event loop"):
                await asyncio.to_thread(asyncio.run, use())
        with pytest.raises(EnqueueManyFailed, match="opened on another event loop"):
            await asyncio.to_thread(asyncio.run, app.enqueue_many([work.bind()]))
        assert [state.ready for state in await app.queues()] == [1, 0]


async def test_a_forked_child_cannot_use_the_app_of_its_parent(amqp_url: str) -> None:
    app = TaskQ("forks", url=amqp_url)

    @app.task
    async def work() -> None: ...

    async with app:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that forking with threads is dangerous is the point
            pid = os.fork()
        if pid == 0:
            try:
                work.enqueue().send(None)
            except UsageError as error:
                os._exit(42 if "before the process was forked" in str(error) else 1)
            finally:
                os._exit(2)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 42
        assert [state.ready for state in await app.queues()] == [0, 0]
