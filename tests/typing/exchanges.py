"""Exchanges: what they carry is what is published, subscribed to, and listened for."""

from __future__ import annotations

from typing import Any, assert_type

from taskq import Event, Exchange, Router, TaskQ

app = TaskQ("shop")
router = Router()


class Line:
    host: str


logs = router.exchange("logs", kind="topic", payload=Line)
names = app.exchange("names", kind="fanout", payload=str, durable=False)
anything = app.exchange("anything", kind="headers")

assert_type(logs, Exchange[Line])
assert_type(names, Exchange[str])
assert_type(anything, Exchange[Any])

app.exchange("x", kind="random", payload=str)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


@logs.subscribe("#")
async def with_payload(line: Line) -> None: ...


@logs.subscribe("#", queue="archive", concurrency=4)
async def with_event(line: Line, event: Event[Line]) -> None:
    assert_type(event.payload, Line)
    assert_type(event.key, str)


@names.subscribe()
def in_a_thread(name: str) -> int:
    return len(name)


# The function stays what it was.
assert_type(in_a_thread("x"), int)


@names.subscribe()  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]
async def of_another_type(line: Line) -> None: ...


async def use() -> None:
    assert_type(await logs.publish(Line(), key="a.b"), str)
    await logs.publish("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with logs.listen("a.*", "#") as events:
        async for event in events:
            assert_type(event, Event[Line])
    names.listen(overflow="drop-tail")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
