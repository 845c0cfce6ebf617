"""Events and subscriptions, through an app and its worker: what runs, how often, and what becomes of failures."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from taskq import (
    Context,
    Event,
    Fixed,
    InvalidArguments,
    MessageTooLarge,
    Reject,
    Retry,
    RetryPolicy,
    Router,
    Snooze,
    TaskQ,
    Unroutable,
    UsageError,
)
from taskq.lifecycle import (
    BindingLeft,
    EventDropped,
    EventPublished,
    JobDead,
    JobExpired,
    JobRetried,
    JobSnoozed,
    JobSucceeded,
    ThreadOverran,
    WorkerStarted,
)
from taskq.testing import Harness
from taskq.worker.execute import Run
from tests.support.events import DB1, Line, all_of, ops, publish_raw
from tests.support.waiting import until

THREE = RetryPolicy(attempts=3, backoff=Fixed(10))


# Runs, and retries.


async def test_a_durable_subscription_that_fails_runs_again_and_the_others_do_not() -> None:
    app, logs = ops()
    seen: dict[str, list[Event[Line]]] = {"flaky": [], "good": [], "show": []}

    @logs.subscribe("#", queue="flaky", retry=THREE)
    async def flaky(line: Line, event: Event[Line]) -> None:
        seen["flaky"].append(event)
        if Context.current().attempt < 3:
            raise ValueError("not yet")

    @logs.subscribe("kern.*", queue="good")
    async def good(line: Line, event: Event[Line]) -> None:
        seen["good"].append(event)

    @logs.subscribe("*.info")
    async def show(line: Line, event: Event[Line]) -> None:
        seen["show"].append(event)

    async with Harness(app) as h:
        now = h.clock.now()
        event_id = await logs.publish(DB1, key="kern.info", headers={"tenant": "a"})
        await h.advance(60)
        assert {name: len(events) for name, events in seen.items()} == {"flaky": 3, "good": 1, "show": 1}
        expected = Event(
            payload=DB1,
            exchange="logs",
            key="kern.info",
            headers={"tenant": "a"},
            id=event_id,
            time=datetime.fromtimestamp(now, UTC),
        )
        assert [event for events in seen.values() for event in events] == [expected] * 5
        assert [(each.job_id, each.task, each.queue) for each in all_of(h, JobRetried)] == [
            (event_id, "flaky", "flaky")
        ] * 2
        assert all_of(h, EventPublished) == [EventPublished(event_id=event_id, exchange="logs", key="kern.info")]
        assert len(all_of(h, JobSucceeded)) == 3
        assert h.dead == []


async def test_events_of_a_key_that_nobody_wants_go_nowhere_unless_they_are_mandatory() -> None:
    app, logs = ops()
    seen: list[Line] = []

    @logs.subscribe("kern.*")
    async def show(line: Line) -> None:
        seen.append(line)

    async with Harness(app) as h:
        await logs.publish(DB1, key="kern")
        with pytest.raises(Unroutable, match="passes the key 'kern' to no queue"):
            await logs.publish(DB1, key="kern", mandatory=True)
        await logs.publish(DB1, key="kern.info", mandatory=True)
        await h.drain()
        assert seen == [DB1]


@pytest.mark.parametrize("queue", [None, "durable"])
async def test_an_event_of_a_foreign_program_has_one_id_for_its_whole_life(queue: str | None) -> None:
    app, logs = ops(retry=THREE)
    ids: list[tuple[str, str]] = []

    @logs.subscribe("#", queue=queue)
    async def note(line: Line, event: Event[Line]) -> None:
        ids.append((event.id, Context.current().job_id))
        assert (event.key, event.exchange, event.headers, event.time) == ("kern.info", "logs", {"a": 1}, None)
        raise ValueError("again")

    async with Harness(app) as h:
        await publish_raw(app, b'{"host": "db1"}', {"a": 1}, message_id="")
        await h.advance(60)
        assert len(ids) == (3 if queue else 1)
        assert len({each for pair in ids for each in pair}) == 1


async def test_a_def_runs_in_a_thread_and_an_attempt_that_takes_too_long_is_cut() -> None:
    app, logs = ops()
    threads: list[str] = []
    gate = threading.Event()

    @logs.subscribe("#")
    def in_thread(line: Line) -> None:
        threads.append(threading.current_thread().name)

    @logs.subscribe("#", queue="slow", timeout=0.05)
    async def slow(line: Line) -> None:
        await asyncio.Event().wait()

    @logs.subscribe("#", timeout=0.05)
    async def slow_temporary(line: Line) -> None:
        await asyncio.Event().wait()

    @logs.subscribe("#", queue="stuck", timeout=0.05)
    def stuck(line: Line) -> None:
        gate.wait(10)

    async with Harness(app) as h:
        await logs.publish(DB1, key="a")
        await until(lambda: len(all_of(h, JobDead)) == 2)
        gate.set()
        await h.drain()
        assert len(threads) == 1
        assert threads[0] != threading.current_thread().name
        assert {(letter.queue, letter.reason) for letter in h.dead} == {("slow", "timed-out"), ("stuck", "timed-out")}
        assert [each.task for each in all_of(h, ThreadOverran)] == ["stuck"]
        assert [(each.task, each.reason) for each in all_of(h, EventDropped)] == [("slow_temporary", "timed-out")]


async def test_middleware_context_and_state_are_there_as_in_a_task() -> None:
    wrapped: list[tuple[str, str, int]] = []
    inside: list[Any] = []

    @asynccontextmanager
    async def lifespan() -> Any:
        yield "state"

    app, logs = ops(lifespan=lifespan)

    @app.middleware
    async def around(ctx: Context[Any], run: Run) -> Any:
        wrapped.append((ctx.task, ctx.queue, ctx.attempt))
        return await run()

    @logs.subscribe("#", queue="archive", concurrency=3)
    async def archive(line: Line) -> None:
        ctx = Context.current()
        inside.append((ctx.state, dict(ctx.headers), ctx.task))

    @logs.subscribe("#")
    def show(line: Line) -> None:
        inside.append((Context.current().state, dict(Context.current().headers), Context.current().task))

    async with Harness(app) as h:
        await logs.publish(DB1, key="a", headers={"tenant": "x"})
        await h.drain()
        assert sorted(inside) == [("state", {"tenant": "x"}, "archive"), ("state", {"tenant": "x"}, "show")]
        assert ("archive", "archive", 1) in wrapped
        assert sorted(task for task, _, _ in wrapped) == ["archive", "show"]
        (started,) = all_of(h, WorkerStarted)
        assert started.queues == {"archive": 3, "show (temporary)": 1}


# What a subscription asks for, and failures.


def failing(app_retry: RetryPolicy | None, queue: str | None) -> tuple[TaskQ[Any], Any]:
    """Return an app whose subscription raises what the host of a line says."""
    app, logs = ops(**({} if app_retry is None else {"retry": app_retry}))
    errors = {"error": ValueError("boom"), "retry": Retry("busy", after=5), "reject": Reject("no"), "snooze": Snooze(5)}

    @logs.subscribe("#", queue=queue)
    async def fails(line: Line) -> None:
        if Context.current().execution == 1:
            raise errors[line.host]

    return app, logs


@pytest.mark.parametrize("app_retry", [None, THREE], ids=["once", "app-with-a-policy"])
@pytest.mark.parametrize(
    ("host", "reason", "error"),
    [
        ("error", "failed", "ValueError: boom"),
        ("retry", "failed", "taskq.Retry: busy"),
        ("reject", "rejected", "taskq.Reject: no"),
        ("snooze", "snoozed", "taskq.Snooze: only a subscription with a queue can put an event off"),
    ],
)
async def test_a_temporary_subscription_drops_what_fails_and_says_so(
    host: str, reason: str, error: str, app_retry: RetryPolicy | None, caplog: pytest.LogCaptureFixture
) -> None:
    app, logs = failing(app_retry, None)
    async with Harness(app) as h:
        event_id = await logs.publish(Line(host=host), key="kern.info")
        await h.advance(3600)
        (dropped,) = all_of(h, EventDropped)
        assert (dropped.job_id, dropped.task, dropped.attempt) == (event_id, "fails", 1)
        assert (dropped.reason, dropped.error) == (reason, error)
        assert ("raise errors[line.host]" in dropped.traceback) == (host == "error")
        assert all_of(h, JobRetried) == all_of(h, JobSnoozed) == all_of(h, JobDead) == all_of(h, JobSucceeded) == []
        (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
        assert record.getMessage().startswith(f"fails dropped an event ({reason}) after")
        assert f"{error}; a subscription with a queue would try again [job {event_id}]" in record.getMessage()


@pytest.mark.parametrize(
    ("host", "outcome"), [("error", JobRetried), ("retry", JobRetried), ("reject", JobDead), ("snooze", JobSnoozed)]
)
async def test_a_durable_subscription_follows_what_is_raised(host: str, outcome: Any) -> None:
    app, logs = failing(THREE, "durable")
    async with Harness(app) as h:
        await logs.publish(Line(host=host), key="kern.info")
        await h.advance(4)
        assert len(all_of(h, outcome)) == 1
        assert all_of(h, JobSucceeded) == []
        await h.advance(60)
        succeeded = all_of(h, JobSucceeded)
        assert [letter.reason for letter in h.dead] == (["rejected"] if host == "reject" else [])
        assert [each.attempt for each in succeeded] == {"reject": [], "snooze": [1]}.get(host, [2])
        assert all_of(h, EventDropped) == []


async def test_a_dead_letter_of_an_event_and_its_second_life_keep_all_of_it() -> None:
    app, logs = ops()
    seen: list[Event[Line]] = []
    other: list[Line] = []

    @logs.subscribe("#", queue="archive")
    async def archive(line: Line, event: Event[Line]) -> None:
        seen.append(event)
        if len(seen) == 1:
            raise ValueError("disk full")

    @logs.subscribe("#", queue="other")
    async def good(line: Line) -> None:
        other.append(line)

    async with Harness(app) as h:
        event_id = await logs.publish(DB1, key="kern.info", headers={"tenant": "a"})
        await h.drain()
        (letter,) = h.dead
        assert (letter.job_id, letter.queue, letter.reason) == (event_id, "archive", "failed")
        assert letter.message.body == b'{"host":"db1","level":0}'
        await h.advance(100)
        assert await app.dead_letters.retry("archive", [event_id]) == 1
        await h.drain()
        assert h.dead == []
        assert len(seen) == 2
        assert seen[0] == seen[1]
        assert len(other) == 1


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"\xff", {}, "invalid-arguments"),
        (b"{", {"taskq-enqueued-at": 1}, "undecodable"),
        (b'{"host": 3}', {}, "invalid-arguments"),
        (b'{"host": "a"}', {"taskq-version": 99}, "undecodable"),
        (b'{"host": "a"}', {"taskq-enqueued-at": "soon"}, "undecodable"),
    ],
)
async def test_what_cannot_be_read_is_a_dead_letter_or_is_dropped(
    body: bytes, headers: dict[str, object], reason: str
) -> None:
    app, logs = ops(retry=THREE)
    seen: list[Line] = []

    @logs.subscribe("#", queue="archive")
    async def archive(line: Line) -> None:
        seen.append(line)

    @logs.subscribe("#")
    async def show(line: Line) -> None:
        seen.append(line)

    async with Harness(app) as h:
        await publish_raw(app, body, headers)
        await h.advance(60)
        assert seen == []
        (letter,) = h.dead
        assert (letter.queue, letter.reason, letter.message.body) == ("archive", reason, body)
        assert [(each.task, each.reason) for each in all_of(h, EventDropped)] == [("show", reason)]
        assert [(each.task, each.reason) for each in all_of(h, JobDead)] == [("archive", reason)]
        await logs.publish(DB1, key="a")
        await h.drain()
        assert seen == [DB1, DB1]


async def test_a_foreign_event_that_has_expired_is_left_out() -> None:
    app, logs = ops()

    @logs.subscribe("#")
    async def show(line: Line) -> None: ...

    @logs.subscribe("#", queue="archive")
    async def archive(line: Line) -> None: ...

    async with Harness(app) as h:
        await publish_raw(app, b'{"host": "a"}', {"taskq-deadline": 1})
        await h.drain()
        assert [(each.task, each.reason) for each in all_of(h, EventDropped)] == [("show", "expired")]
        assert [each.task for each in all_of(h, JobExpired)] == ["archive"]


# Publishing.


async def test_what_is_too_large_or_does_not_fit_is_not_published() -> None:
    app, logs = ops(max_message_bytes=1024)
    seen: list[Line] = []

    @logs.subscribe("#")
    async def show(line: Line) -> None:
        seen.append(line)

    async with Harness(app) as h:
        with pytest.raises(MessageTooLarge, match=r"the event for logs has 1,\d\d\d bytes, above the limit of 1,024"):
            await logs.publish(Line(host="x" * 1000), key="a")
        with pytest.raises(MessageTooLarge, match="the header table of the event for logs"):
            await logs.publish(DB1, key="a", headers={"a": "x" * 15_000})
        with pytest.raises(InvalidArguments, match="exchange logs: payload"):
            await logs.publish("db1", key="a")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="taskq-"):
            await logs.publish(DB1, key="a", headers={"taskq-key": "b"})
        with pytest.raises(UsageError, match="has 256 bytes"):
            await logs.publish(DB1, key="x" * 256)
        await h.drain()
        assert seen == []
        assert all_of(h, EventPublished) == []
    with pytest.raises(UsageError, match="is in no open app"):
        await logs.publish(DB1, key="a")


async def test_a_headers_exchange_routes_by_what_the_publisher_set() -> None:
    app: TaskQ[Any] = TaskQ("ops")
    files = app.exchange("files", kind="headers", payload=str)
    seen: list[tuple[str, str, dict[str, Any]]] = []

    @files.subscribe(headers={"type": "pdf", "size": 1})
    async def both(name: str, event: Event[str]) -> None:
        seen.append(("both", name, dict(event.headers)))

    @files.subscribe(headers={"type": "pdf", "size": 1}, match="any", queue="either")
    async def either(name: str, event: Event[str]) -> None:
        seen.append(("either", name, dict(event.headers)))

    async with Harness(app) as h:
        await files.publish("a", headers={"type": "pdf", "size": 1, "more": True})
        await files.publish("b", headers={"type": "pdf"})
        await files.publish("c")
        await h.drain()
        full, part = {"type": "pdf", "size": 1, "more": True}, {"type": "pdf"}
        assert sorted(seen, key=str) == [("both", "a", full), ("either", "a", full), ("either", "b", part)]


# Which worker runs what.


async def test_an_exchange_is_in_one_open_app_at_a_time() -> None:
    router = Router()
    router.exchange("logs", kind="fanout")
    one: TaskQ[Any] = TaskQ("one", url="memory://one")
    other: TaskQ[Any] = TaskQ("other", url="memory://other")
    one.include(router)
    other.include(router)
    async with one:
        with pytest.raises(UsageError, match=r"exchange 'logs' is in another open app already \('one'\)"):
            async with other:
                pass
    async with other:
        pass


async def test_a_worker_runs_the_subscriptions_that_it_is_asked_for() -> None:
    app, logs = ops(url="memory://")
    seen: list[str] = []

    @logs.subscribe("#", queue="archive")
    async def archive(line: Line) -> None:
        seen.append("archive")

    @logs.subscribe("#")
    async def show(line: Line) -> None:
        seen.append("show")

    @logs.subscribe("#")
    async def other(line: Line) -> None:
        seen.append("other")

    async with app:
        assert set(app.worker().slots) == {"archive", "show (temporary)", "other (temporary)"}
        worker = app.worker(queues={"show": 3, "archive": None}, concurrency=2)
        assert worker.slots == {"archive": 2, "show (temporary)": 3}
        with pytest.raises(
            UsageError, match="no task or subscription uses the queue 'shown'; the app has archive, other, show"
        ):
            app.worker(queues={"shown": None})
        running = asyncio.create_task(worker.run())
        await worker.started.wait()
        await logs.publish(DB1, key="a")
        await until(lambda: len(seen) == 2)
        worker.stop("enough")
        await running
        assert sorted(seen) == ["archive", "show"]


async def test_a_burst_works_off_durable_subscriptions_and_leaves_temporary_ones_out() -> None:
    app, logs = ops(url="memory://")
    seen: list[str] = []

    @logs.subscribe("#", queue="archive", retry=RetryPolicy(attempts=2, backoff=Fixed(0.01)))
    async def archive(line: Line) -> None:
        seen.append("archive")
        if Context.current().attempt == 1:
            raise ValueError("again")

    @logs.subscribe("#")
    async def show(line: Line) -> None:
        seen.append("show")

    async with app:
        await logs.publish(DB1, key="a")
        worker = app.worker(burst=True)
        assert worker.slots == {"archive": 1}
        report = await worker.run()
        assert (report.executed, report.dead) == (2, 0)
        assert seen == ["archive", "archive"]


async def test_a_worker_tells_at_its_start_which_bindings_are_left_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path / 'broker.db'}"

    async def archive(line: Line) -> None: ...

    before, logs = ops(url=url)
    logs.subscribe("kern.*", "net.*", queue="archive")(archive)
    logs.subscribe("#", queue="theirs", name="theirs")(archive)
    async with before:
        pass
    app, logs = ops(url=url)
    logs.subscribe("kern.*", queue="archive")(archive)
    left: list[BindingLeft] = []
    app.on(BindingLeft)(left.append)
    async with app:
        worker = app.worker()
        running = asyncio.create_task(worker.run())
        await worker.started.wait()
        await until(lambda: left)
        worker.stop("enough")
        await running
    assert left == [BindingLeft(queue="archive", exchange="logs", key="net.*")]
    assert "queue archive is still bound to logs with the key 'net.*', which the program no longer" in caplog.text
