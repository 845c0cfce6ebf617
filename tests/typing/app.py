"""Apps: the state that a lifespan yields, routers of that state, and the verbs that take many calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import assert_type

from taskq import AsyncTask, Context, Job, RemoteTask, Router, TaskQ


@dataclass
class State:
    pool: list[int]


@asynccontextmanager
async def lifespan() -> AsyncGenerator[State]:
    yield State([1])


app = TaskQ("shop", lifespan=lifespan)
plain = TaskQ("plain")

assert_type(app, TaskQ[State])
assert_type(plain, TaskQ[object])


@app.task
async def resize(url: str, width: int = 200) -> int:
    return width


@app.task(context=True)
async def deliver(ctx: Context[State], url: str, /) -> int:
    assert_type(ctx.state, State)
    return len(ctx.state.pool)


@app.task
def hashed(text: str) -> str:
    return text


@app.remote("billing.charge", queue="billing")
def charge(order: int, /) -> bytes:
    raise NotImplementedError


assert_type(deliver, AsyncTask[[str], int])
assert_type(charge, RemoteTask[[int], bytes])

same_state = Router[State]()
any_state = Router()
other_state = Router[int]()
app.include(same_state, any_state)
app.include(other_state)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def context_of_another_state(ctx: Context[int], url: str) -> None: ...


app.task(context=True)(context_of_another_state)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
TaskQ("shop", lifespan=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def many() -> None:
    async with app as opened:
        assert_type(opened, TaskQ[State])
        assert_type(await app.enqueue_many(resize.bind(url) for url in ["a", "b"]), list[Job])
        assert_type(await app.enqueue_many([resize.bind("u"), hashed.bind("x"), charge.bind(3)]), list[Job])
        assert_type(await app.enqueue_many(resize.bind(url) async for url in urls()), list[Job])
        await app.enqueue_many([resize])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
        await app.enqueue_many([resize.bind("u", width="wide")])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert_type(await resize.call("u"), int)
        await resize.call(url="u", width="wide")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def urls() -> AsyncIterator[str]:
    yield "a"
