"""The emitter: who hears what, and a listener never disturbs what it listens to."""

import asyncio
import pickle
from typing import Any

import pytest

from taskq.lifecycle import Emitter, Event, HookFailed, JobDead, JobEnqueued, JobEvent, LoopBlocked

ENQUEUED = JobEnqueued(job_id="j", task="t", queue="q", not_before=None)
BLOCKED = LoopBlocked(seconds=2.0, stack="")


def test_events_are_values() -> None:
    assert JobEnqueued.field_names == ("job_id", "task", "queue", "not_before")
    assert repr(ENQUEUED) == "JobEnqueued(job_id='j', task='t', queue='q', not_before=None)"
    same = pickle.loads(pickle.dumps(ENQUEUED))
    assert (same, hash(same)) == (ENQUEUED, hash(ENQUEUED))
    assert JobEnqueued(job_id="k", task="t", queue="q", not_before=None) != ENQUEUED != BLOCKED
    with pytest.raises(AttributeError, match="'queue' of an event cannot be set"):
        ENQUEUED.queue = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(AttributeError, match="'queue' of an event cannot be deleted"):
        del ENQUEUED.queue
    assert ENQUEUED.queue == "q"


@pytest.mark.parametrize(
    "values", [{"seconds": 2.0}, {"seconds": 2.0, "stack": "", "more": 1}, {"stacks": "", "seconds": 1}]
)
def test_event_has_all_of_its_fields_and_no_other(values: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"LoopBlocked has the fields \('seconds', 'stack'\), given were"):
        LoopBlocked(**values)


def test_listeners_hear_their_kind_and_its_subclasses_in_the_order_of_their_adding() -> None:
    emitter, heard = Emitter(), list[tuple[str, Event]]()
    for name, kind in (("all", Event), ("jobs", JobEvent), ("enqueued", JobEnqueued), ("dead", JobDead)):
        emitter.on(kind, lambda event, name=name: heard.append((name, event)))
    emitter.emit(ENQUEUED)
    emitter.emit(BLOCKED)
    assert heard == [("all", ENQUEUED), ("jobs", ENQUEUED), ("enqueued", ENQUEUED), ("all", BLOCKED)]


def test_wants_says_whether_anybody_listens() -> None:
    emitter = Emitter()
    assert not emitter.wants(JobEnqueued)
    with emitter.listening(JobEvent, lambda _: None):
        assert emitter.wants(JobEnqueued)
        assert not emitter.wants(LoopBlocked)
    assert not emitter.wants(JobEnqueued)


async def test_listener_that_raises_is_reported_and_the_others_hear_all_the_same() -> None:
    emitter, heard, failed = Emitter(), list[Event](), list[HookFailed]()

    def breaks(_: Event) -> None:
        raise LookupError("no")

    async def breaks_later(_: Event) -> None:
        raise ValueError("later")

    emitter.on(JobEnqueued, breaks)
    emitter.on(JobEnqueued, breaks_later)
    emitter.on(JobEnqueued, heard.append)
    emitter.on(HookFailed, failed.append)
    emitter.emit(ENQUEUED)
    await emitter.drain()
    assert heard == [ENQUEUED]
    assert [(hook.listener.rpartition(".")[2], str(hook.error)) for hook in failed] == [
        ("breaks", "no"),
        ("breaks_later", "later"),
    ]


@pytest.mark.parametrize("kind", ["function", "coroutine function"])
async def test_listener_of_failed_listeners_that_fails_itself_ends_it_there(kind: str) -> None:
    emitter, calls = Emitter(), list[Event]()

    def breaks(event: Event) -> None:
        calls.append(event)
        raise LookupError

    async def breaks_later(event: Event) -> None:
        breaks(event)

    emitter.on(Event, breaks if kind == "function" else breaks_later)
    emitter.emit(ENQUEUED)
    async with asyncio.timeout(5):
        await emitter.drain()
    assert [type(event) for event in calls] == [JobEnqueued, HookFailed]


async def test_listener_that_raises_on_another_thread_is_reported_to_a_coroutine_on_the_loop() -> None:
    emitter, failed = Emitter(), list[str]()
    loop = asyncio.get_running_loop()

    def breaks(_: LoopBlocked) -> None:
        raise LookupError("no")

    async def report(hook: HookFailed) -> None:
        assert asyncio.get_running_loop() is loop
        failed.append(str(hook.error))

    emitter.on(LoopBlocked, breaks)
    emitter.on(HookFailed, report)
    await asyncio.to_thread(emitter.emit, BLOCKED, loop=loop)
    await asyncio.sleep(0)
    await emitter.drain()
    assert failed == ["no"]


async def test_drain_waits_for_coroutine_listeners_and_what_they_emit() -> None:
    emitter, heard = Emitter(), list[Event]()
    go_on = asyncio.Event()

    async def slow(_: JobEnqueued) -> None:
        await go_on.wait()
        emitter.emit(BLOCKED)

    async def slower(event: LoopBlocked) -> None:
        await asyncio.sleep(0)
        heard.append(event)

    emitter.on(JobEnqueued, slow)
    emitter.on(LoopBlocked, slower)
    emitter.emit(ENQUEUED)
    draining = asyncio.create_task(emitter.drain())
    await asyncio.sleep(0)
    assert emitter.busy
    assert not draining.done()
    go_on.set()
    await draining
    assert heard == [BLOCKED]
    assert not emitter.busy


async def test_events_of_another_thread_reach_functions_at_once_and_coroutines_on_the_loop() -> None:
    emitter, heard = Emitter(), list[str]()
    loop = asyncio.get_running_loop()

    async def later(_: Event) -> None:
        assert asyncio.get_running_loop() is loop
        heard.append("coroutine")

    emitter.on(LoopBlocked, lambda _: heard.append("function"))
    emitter.on(LoopBlocked, later)
    await asyncio.to_thread(emitter.emit, BLOCKED, loop=loop)
    await emitter.drain()
    assert heard == ["function", "coroutine"]
