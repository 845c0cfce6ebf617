"""Streams of events: what they yield, what they leave out, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from taskq import BrokerBlocked, DeclarationError, Event, TaskQ, UsageError
from taskq.events import listener
from taskq.lifecycle import EventUnreadable
from taskq.testing import Harness
from tests.support.events import DB1, Line, all_of, ops, publish_raw

LONG_S = 10.0


async def taken(events: AsyncIterator[Event[Line]], number: int) -> list[str]:
    """Return the hosts of the next events."""
    async with asyncio.timeout(LONG_S):
        return [(await anext(events)).payload.host for _ in range(number)]


async def publish_all(logs: Any, hosts: list[str]) -> None:
    for host in hosts:
        await logs.publish(Line(host=host), key="kern.info")


async def test_two_listeners_get_what_their_keys_let_through_from_now_on() -> None:
    app, logs = ops()
    async with Harness(app):
        await logs.publish(Line(host="before"), key="kern.info")
        async with logs.listen("kern.*") as kern, logs.listen("#") as all_:
            event_id = await logs.publish(DB1, key="kern.info", headers={"tenant": "a"})
            await logs.publish(Line(host="db2"), key="net.info")
            await logs.publish(Line(host="db3"), key="kern.error")
            first = await anext(kern)
            assert (first.payload, first.key, first.exchange) == (DB1, "kern.info", "logs")
            assert (first.id, first.headers) == (event_id, {"tenant": "a"})
            assert first.time is not None
            assert await taken(kern, 1) == ["db3"]
            assert await anext(all_) == first
            assert await taken(all_, 2) == ["db2", "db3"]


async def test_events_that_cannot_be_read_are_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    app, logs = ops()
    async with Harness(app) as h, logs.listen("#") as events:
        await publish_raw(app, b"\xff")
        await publish_raw(app, b'{"host": 3}')
        await publish_raw(app, b'{"host": "a"}', {"taskq-enqueued-at": "soon"})
        await publish_raw(app, b'{"host": "theirs"}')
        assert await taken(events, 1) == ["theirs"]
        told = all_of(h, EventUnreadable)
        assert [(each.exchange, each.key) for each in told] == [("logs", "kern.info")] * 3
        assert "payload.host" in told[1].error
    assert caplog.text.count("a listener of logs left out an event with the key 'kern.info'") == 3


async def test_an_event_of_a_newer_version_of_the_wire_format_is_left_out() -> None:
    app, logs = ops()
    async with Harness(app) as h, logs.listen("#") as events:
        await publish_raw(app, b'{"host": "newer"}', {"taskq-version": 99})
        await logs.publish(DB1, key="kern.info")
        assert await taken(events, 1) == ["db1"]
        assert "wire version 99" in all_of(h, EventUnreadable)[0].error


async def test_a_stream_ends_with_its_app_for_all_who_wait() -> None:
    app, logs = ops(url="memory://")
    async with AsyncExitStack() as outside:
        async with app:
            events = await outside.enter_async_context(logs.listen("#"))
            waiting = [asyncio.create_task(anext(events, None)) for _ in range(3)]  # type: ignore[arg-type]
            await asyncio.sleep(0)
        assert await asyncio.wait_for(asyncio.gather(*waiting), LONG_S) == [None] * 3
        assert [event async for event in events] == []
    with pytest.raises(UsageError, match="is in no open app"):
        logs.listen("#")


async def test_a_stream_is_entered_once_and_read_inside_its_block() -> None:
    app, logs = ops()
    async with Harness(app):
        stream: Any = logs.listen("#")
        with pytest.raises(UsageError, match="is not open; use it inside its `async with`"):
            await anext(stream)
        async with stream as events:
            with pytest.raises(UsageError, match="is entered once"):
                await stream.__aenter__()
        with pytest.raises(UsageError, match="is entered once"):
            await stream.__aenter__()
        assert [event async for event in events] == []
        assert [queue for queue in await app.queues() if "subscription" in queue.name] == []


async def test_who_stops_waiting_loses_no_event() -> None:
    app, logs = ops()
    async with Harness(app), logs.listen("#") as events:
        hosts = [str(number) for number in range(30)]
        got: list[str] = []
        publishing = asyncio.create_task(publish_all(logs, hosts))
        async with asyncio.timeout(LONG_S):
            while len(got) < len(hosts):
                waiting = asyncio.ensure_future(anext(events))
                for _ in range(len(got) % 7):
                    await asyncio.sleep(0)
                waiting.cancel()
                got += [
                    each.payload.host
                    for each in await asyncio.gather(waiting, return_exceptions=True)
                    if isinstance(each, Event)
                ]
                if len(got) % 7 == 0:
                    got += await taken(events, 1)
        await publishing
        assert got == hosts


async def test_at_its_limit_the_oldest_waiting_event_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_PREFETCH", 2)
    app, logs = ops()
    async with Harness(app), logs.listen("#", limit=3) as events:
        await publish_all(logs, ["a", "b"])
        await until_prefetched(app)
        await publish_all(logs, ["c", "d", "e", "f", "g"])
        assert await taken(events, 5) == ["a", "b", "e", "f", "g"]


async def test_at_its_limit_publishing_fails_when_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_PREFETCH", 2)
    app, logs = ops()
    async with Harness(app), logs.listen("#", limit=1, overflow="reject-publish") as events:
        await publish_all(logs, ["a", "b"])
        await until_prefetched(app)
        await publish_all(logs, ["c"])
        with pytest.raises(BrokerBlocked):
            await publish_all(logs, ["d"])
        assert await taken(events, 3) == ["a", "b", "c"]
        await publish_all(logs, ["e"])
        assert await taken(events, 1) == ["e"]


async def until_prefetched(app: TaskQ[Any]) -> None:
    """Wait until what was published is with the listener, and nothing waits."""
    async with asyncio.timeout(LONG_S):
        while any(state.ready for state in await app.queues()):  # noqa: ASYNC110  # nobody signals it
            await asyncio.sleep(0.001)


async def test_draining_does_not_wait_for_what_a_listener_has_not_read() -> None:
    app, logs = ops()
    seen: list[Line] = []

    @logs.subscribe("#")
    async def show(line: Line) -> None:
        seen.append(line)

    async with Harness(app) as h, logs.listen("#") as events:
        await logs.publish(DB1, key="kern.info")
        await h.drain(timeout=LONG_S)
        assert seen == [DB1]
        assert await taken(events, 1) == ["db1"]


async def test_a_stream_that_cannot_be_is_refused() -> None:
    app, logs = ops()
    async with Harness(app):
        for keys, options in (((), {}), (("a*",), {}), (("#",), {"limit": 0}), (("#",), {"overflow": "drop"})):
            with pytest.raises(DeclarationError):
                logs.listen(*keys, **options)  # type: ignore[arg-type]


async def test_a_listener_that_is_left_behind_while_others_go_on_takes_nothing_from_them() -> None:
    app, logs = ops()
    async with Harness(app), logs.listen("#") as one:
        async with logs.listen("#") as other:
            await publish_all(logs, ["a"])
            assert await taken(other, 1) == ["a"]
        await publish_all(logs, ["b"])
        assert await taken(one, 2) == ["a", "b"]
