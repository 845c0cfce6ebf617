"""What the simulated processes do: an app with tasks of every kind of ending, workers, and producers.

What an execution does is part of its job, one word for each execution, and does not depend on the schedule:
``return 0.2`` works for 0.2 s and returns; ``fail``, ``reject``, ``retry``, ``snooze`` and ``hang`` speak for
themselves; ``call 0.1`` calls another task and returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from taskq import Context, Exponential, Fixed, Queue, Reject, Retry, RetryPolicy, Snooze, TaskQ
from taskq.app.connection import Backend
from taskq.broker.protocol import Broker
from taskq.errors import (
    BrokerError,
    EnqueueManyFailed,
    JobExpired,
    PublishUnconfirmed,
    ResultTimeout,
    TaskFailed,
)
from taskq.lifecycle import DeliveryLost, Emitter, Event, ExecutionEnded, WorkerStopping
from taskq.lifecycle import JobExpired as JobHasExpired
from taskq.settings import Settings
from tests.simulation.custody import Custody, WatchedBroker
from tests.simulation.process import SimulatedProcess
from tests.simulation.world import World
from tests.support.ledger import Answered, Confirmed, Ended, Expired, Outcome, Record, Started, Wanted

PUBLISH_S = 3.0
REPLY_S = 5.0
TIME_LIMIT_S = 1.5
LATE_S = 0.5
"""How much later than its deadline a caller may be told: a second look of its loop, a slow commit."""

ATTEMPTS = {"once": 1, "thrice": 3, "fragile": 2, "urgent": 2}
QUEUES = ("work", "fragile", "urgent")


@dataclass(slots=True)
class Book:
    """The ledger of a simulation, in memory. ``refused``: jobs of which the broker said that they were not stored.

    ``deadlines``: until when (wall clock) a job may start.
    """

    world: World
    custody: Custody
    records: list[Record]
    refused: set[str]
    deadlines: dict[str, float]
    failed: dict[str, int]

    def write(self, record: Record) -> None:
        self.records.append(record)

    def confirmed(self, job: str) -> None:
        self.world.note(f"confirmed {job}")
        self.write(Confirmed(job=job, at=self.world.now))


@dataclass(frozen=True, slots=True)
class _SimulatedBackend(Backend):
    """Opens the broker of a simulated process."""

    process: SimulatedProcess | None = None
    custody: Custody | None = None

    def is_default(self, settings: Settings) -> bool:
        return False

    def connect(self, settings: Settings, app: str, emitter: Emitter) -> Broker:
        assert self.process is not None
        assert self.custody is not None
        broker = WatchedBroker(
            settings.url,
            clock=self.clock,
            emit=emitter.emit,
            system=self.process.system,
        )
        broker.process, broker.custody = self.process, self.custody
        return broker


class App:
    """An app of one process, with its tasks by name."""

    def __init__(self, book: Book, process: SimulatedProcess) -> None:
        self.book = book
        self.process = process
        world = book.world
        self.queue: TaskQ[Any] = TaskQ(
            "simulation",
            url=f"sqlite:///{world.path}",
            publish_timeout=PUBLISH_S,
            reply_timeout=REPLY_S,
            grace=2.0,
            timeout=TIME_LIMIT_S,
        )
        self.queue.use_backend(_SimulatedBackend(world.clock, process, book.custody))
        self.queue.emitter.on(Event, self._note)
        self.queue.add_queue(Queue("fragile", delivery_limit=2))
        self.queue.add_queue(Queue("urgent", type="classic", max_priority=3))
        self._declare()

    def _declare(self) -> None:
        queue = self.queue
        backoff = Exponential(0.2, cap=1.0)

        @queue.task(name="once", queue="work", context=True)
        async def once(ctx: Context[Any], job: str, plan: list[str]) -> str:
            return await self._run(ctx, job, plan)

        @queue.task(name="thrice", queue="work", context=True, retry=RetryPolicy(attempts=3, backoff=backoff))
        async def thrice(ctx: Context[Any], job: str, plan: list[str]) -> str:
            return await self._run(ctx, job, plan)

        @queue.task(name="fragile", queue="fragile", context=True, retry=RetryPolicy(attempts=2, backoff=backoff))
        async def fragile(ctx: Context[Any], job: str, plan: list[str]) -> str:
            return await self._run(ctx, job, plan)

        @queue.task(name="urgent", queue="urgent", context=True, retry=RetryPolicy(attempts=2, backoff=Fixed(0.1)))
        async def urgent(ctx: Context[Any], job: str, plan: list[str]) -> str:
            return await self._run(ctx, job, plan)

        self.tasks: dict[str, Any] = {"once": once, "thrice": thrice, "fragile": fragile, "urgent": urgent}

    async def _run(self, ctx: Context[Any], job: str, plan: list[str]) -> str:
        book, process = self.book, self.process
        world = book.world
        if ctx.job_id != job:
            world.complain(f"{process.name}: runs the arguments of {job} as job {ctx.job_id}")
        identity = {"job": job, "pid": process.pid, "attempt": ctx.attempt, "execution": ctx.execution}
        book.write(Started(at=world.now, **identity))
        how = Outcome.FAILED
        word, _, rest = plan[min(ctx.execution, len(plan)) - 1].partition(" ")
        world.note(f"{process.name}: runs {job}, attempt {ctx.attempt}, execution {ctx.execution}: {word} {rest}")
        try:
            await self._perform(word, rest, f"{job}.{ctx.execution}")
            how = Outcome.RETURNED
        except asyncio.CancelledError:
            how = Outcome.CUT
            raise
        except Snooze:
            how = Outcome.SNOOZED
            raise
        except ValueError:
            book.failed[job] = book.failed.get(job, 0) + 1
            raise
        finally:
            if process.alive:
                book.write(Ended(at=world.now, outcome=how, **identity))
        return job

    async def _perform(self, word: str, rest: str, child: str) -> None:
        numbers = [float(number) for number in rest.split()]
        await asyncio.sleep(numbers[0])
        match word:
            case "return":
                pass
            case "fail":
                raise ValueError("it failed")
            case "reject":
                raise Reject("never")
            case "retry":
                raise Retry("busy", after=numbers[1])
            case "snooze":
                raise Snooze(numbers[1])
            case "hang":
                await asyncio.sleep(1000.0)
            case "call":
                await Sending(self, child, "urgent", {"reply_timeout": 1.0}, ["return 0.1"]).call()

    def _note(self, event: Event) -> None:
        process, world = self.process, self.book.world
        if not process.alive:
            return
        match event:
            case JobHasExpired(job_id=job):
                self.book.write(Expired(job=job, at=world.now))
            case WorkerStopping():
                process.stops = True
            case _:
                pass
        if isinstance(event, ExecutionEnded):
            world.note(f"{process.name}: {type(event).__name__} {event.job_id}")
            if isinstance(event, DeliveryLost) and not process.was_paused_for_long:
                world.faults.gave_up(process, f"lost {event.job_id}")
        else:
            world.note(f"{process.name}: {type(event).__name__}")


@dataclass(slots=True)
class Sending:
    """A job, and the ways to send it. Each way writes into the book what its caller sees."""

    app: App
    job: str
    task: str
    options: dict[str, Any]
    plan: list[str]

    def _want(self) -> Any:
        book, options = self.app.book, self.options
        world = book.world
        wall = world.wall
        expires = [options[name] for name in ("expires", "reply_timeout") if name in options]
        if expires:
            book.deadlines[self.job] = wall + min(expires)
        if "delay" in options:
            book.custody.delays[self.job] = (world.now, options["delay"])
        book.write(Wanted(job=self.job, at=world.now, attempts=ATTEMPTS[self.task]))
        world.note(f"{self.app.process.name}: wants {self.job}: {self.task} {options} {self.plan}")
        return self.app.tasks[self.task].with_options(job_id=self.job, **options)

    @asynccontextmanager
    async def _told(self, within_s: float) -> AsyncIterator[None]:
        """Take down what the broker says, and that it says it in time."""
        book, process = self.app.book, self.app.process
        world = book.world
        until = world.now + within_s + LATE_S - process.held_up_s
        how = "answers"
        try:
            yield
        except PublishUnconfirmed:
            how = "unconfirmed"
        except BrokerError as error:
            how = f"refused: {error!r}"
            book.refused.add(self.job)
        except (TaskFailed, ResultTimeout, JobExpired) as error:
            how = type(error).__name__
        except asyncio.CancelledError:
            how = "cancelled"
            raise
        finally:
            if process.alive:
                world.note(f"{process.name}: {self.job} {how}")
                late_s = world.now - process.held_up_s - until
                if late_s > 0:
                    world.complain(f"{process.name}: {self.job} {how} {late_s:.3f} s after its deadline")

    async def enqueue(self) -> None:
        """Enqueue it."""
        async with self._told(PUBLISH_S):
            await self._want().enqueue(self.job, self.plan)
            self.app.book.confirmed(self.job)

    async def call(self) -> None:
        """Call it."""
        async with self._told(self.options["reply_timeout"]):
            self._answered(await self._want().call(self.job, self.plan))

    async def submit(self) -> None:
        """Submit it, and wait for its result."""
        handle = None
        async with self._told(REPLY_S + PUBLISH_S):  # the reply queue may have to be made first
            handle = await self._want().submit(self.job, self.plan)
            self.app.book.confirmed(self.job)
        if handle is not None:
            async with self._told(4.0):
                self._answered(await handle.result(timeout=4.0))

    def bind(self) -> Any:
        """Bind it."""
        return self._want().bind(self.job, self.plan)

    def _answered(self, of: str) -> None:
        book = self.app.book
        book.write(Answered(job=self.job, at=book.world.now, of=of))


async def send_many(sendings: list[Sending]) -> None:
    """Enqueue several at once."""
    app = sendings[0].app
    book = app.book
    try:
        calls = [sending.bind() for sending in sendings]
        for job in await app.queue.enqueue_many(calls):
            book.confirmed(job.id)
    except EnqueueManyFailed as failed:
        for job in failed.confirmed:
            book.confirmed(job.id)
        for call, error in failed.failed:
            job_id = call.options.job_id
            assert job_id is not None
            if not isinstance(error, PublishUnconfirmed):
                book.refused.add(job_id)


class Drawer:
    """Draws jobs."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def plan(self) -> list[str]:
        """Return what the executions of a job do."""
        chance = self._chance
        work_s = chance.choice((0.0, 0.0, 0.02, 0.1, 0.5))
        steps: list[str] = []
        while chance.random() < 0.35 and len(steps) < 3:
            steps.append(
                chance.choice((f"fail {work_s}", f"snooze {work_s} 0.3", f"retry {work_s} 0.2", "hang 0", "fail 0"))
            )
        last = chance.choice(("return", "return", "return", "return", "fail", "reject", "call"))
        return [*steps, f"{last} {work_s}"]

    def options(self, task: str) -> dict[str, Any]:
        """Return options of a job."""
        chance = self._chance
        options: dict[str, Any] = {}
        if chance.random() < 0.2:
            options["delay"] = chance.choice((0.05, 0.4, 1.5, 4.0))
        if chance.random() < 0.15:
            options["expires"] = options.get("delay", 0.0) + chance.choice((0.1, 1.6, 3.0))
        if task == "urgent" and chance.random() < 0.7:
            options["priority"] = chance.randint(0, 3)
        return options


async def produce(process: SimulatedProcess, book: Book, chance: Random, count: int) -> None:
    """What a producer does: ``count`` jobs in every way, some at once."""
    app = App(book, process)
    drawer = Drawer(chance)
    async with app.queue:
        sent = 0
        while sent < count:
            await asyncio.sleep(chance.choice((0.0, 0.0, 0.01, 0.1, 0.5)))
            many = chance.randint(2, 5) if chance.random() < 0.15 else 1
            sendings: list[Sending] = []
            for _ in range(many):
                sent += 1
                task = chance.choice(tuple(ATTEMPTS))
                sendings.append(Sending(app, f"{process.name}-{sent}", task, drawer.options(task), drawer.plan()))
            process.ops.append(process.loop.create_task(_send(sendings, chance)))
            if chance.random() < 0.4:
                await asyncio.wait([process.ops[-1]])
        await asyncio.gather(*process.ops, return_exceptions=True)
    for op in process.ops:
        if not op.cancelled() and (error := op.exception()) is not None:
            book.world.complain(f"{process.name}: {error!r}")


async def _send(sendings: list[Sending], chance: Random) -> None:
    first = sendings[0]
    if len(sendings) > 1:
        await send_many(sendings)
        return
    match chance.choice(("enqueue", "enqueue", "submit", "call")):
        case "enqueue":
            await first.enqueue()
        case "submit":
            first.options.pop("expires", None)
            await first.submit()
        case _:
            delay = first.options.get("delay", 0.0)
            first.options["reply_timeout"] = delay + chance.choice((0.5, 2.0, 4.0))
            await first.call()


async def work(process: SimulatedProcess, book: Book, concurrency: int) -> None:
    """What a worker process does, until it is stopped."""
    app = App(book, process)
    try:
        async with app.queue:
            worker = app.queue.worker(concurrency=concurrency)
            process.on_stop = worker.stop
            await worker.run()
    except BrokerError:
        process.told_at = process.told_at or book.world.now
        raise
    finally:
        left = book.custody.unsettled[process.pid]
        if left and process.alive:
            book.world.faults.gave_up(process, f"left {len(left)} deliveries unsettled")
