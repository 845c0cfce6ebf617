"""Tasks on a router: what mypy and pyright must make of each declaration and each verb, and what they must refuse."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, assert_type

from pydantic import BaseModel, Field

from taskq import (
    AsyncTask,
    BoundCall,
    Context,
    Exponential,
    Job,
    RemoteTask,
    ResultJob,
    RetryPolicy,
    Router,
    SyncTask,
)


class Size(BaseModel):
    width: int


@dataclass
class State:
    pool: list[int]


router = Router[State](prefix="images.", queue="images")
plain = Router()

assert_type(plain, Router[object])

# The task itself


@plain.task
async def bare(n: int) -> Size:
    return Size(width=n)


@plain.task(queue="x", timeout=timedelta(seconds=3), retry=RetryPolicy(attempts=3, backoff=Exponential(1, cap=60)))
async def with_options(n: int) -> Size:
    return Size(width=n)


@plain.task
def in_a_thread(n: int) -> str:
    return str(n)


@plain.task(run="process")
def in_a_process(n: int) -> str:
    return str(n)


@plain.task
async def nothing() -> None: ...


@router.task(context=True)
async def only_context(ctx: Context[State]) -> None:
    assert_type(ctx.state.pool, list[int])
    assert_type(ctx.attempt, int)
    assert_type(ctx.deadline, datetime)
    assert_type(Context.current(), Context[Any])


@router.task(context=True)
def sync_with_context(ctx: Context[State], n: int) -> str:
    async def later(text: str, *, times: int) -> bytes:
        return text.encode() * times

    assert_type(ctx.from_thread(later, "a", times=n), bytes)
    ctx.from_thread(later, 3, times=n)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return str(n)


@plain.remote("billing.charge", queue="billing")
def charge(order: int) -> Size:
    raise NotImplementedError


# A list of types describes parameters without names, so these three take theirs by position.


@plain.task
async def by_position(url: str, width: int, /) -> Size:
    return Size(width=width)


@router.task(context=True, timeout=3)
async def with_context_by_position(ctx: Context[State], url: str, /) -> Size:
    return Size(width=1)


@plain.remote("fib", queue="math")
def fib(n: int, /) -> int:
    raise NotImplementedError


@plain.task(run="thread")
def hash_by_position(data: bytes, /) -> str:
    return data.hex()


assert_type(by_position, AsyncTask[[str, int], Size])
assert_type(with_context_by_position, AsyncTask[[str], Size])
assert_type(fib, RemoteTask[[int], int])
assert_type(hash_by_position, SyncTask[[bytes], str])
assert_type(nothing, AsyncTask[[], None])
assert_type(only_context, AsyncTask[[], None])
assert_type(by_position.with_options(delay=3), AsyncTask[[str, int], Size])
assert_type(fib.with_options(delay=3), RemoteTask[[int], int])
assert_type(hash_by_position.with_options(delay=3), SyncTask[[bytes], str])


@router.task
async def resize(url: str, width: Annotated[int, Field(gt=0)] = 200, *, crop: bool = False) -> Size:
    return Size(width=width)


@router.task(context=True)
async def deliver(ctx: Context[State], url: str, body: dict[str, Any]) -> Size:
    assert_type(ctx.state, State)
    assert_type(body, dict[str, Any])
    return Size(width=1)


@router.task(context=True, queue="other")
async def bare_context(ctx: Context, url: str) -> Size:
    assert_type(ctx.state, object)
    return Size(width=1)


@plain.task(context=True)
async def plain_context(ctx: Context, url: str) -> Size:
    return Size(width=1)


async def local_calls() -> None:
    assert_type(bare(1), Coroutine[Any, Any, Size])  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    assert_type(await bare(1), Size)
    assert_type(await resize("u", 3, crop=True), Size)
    assert_type(in_a_thread(1), str)
    assert_type(in_a_process(1), str)
    assert_type(nothing.name, str)


async def verbs() -> None:
    assert_type(await resize.enqueue("u"), Job)
    assert_type(await resize.submit("u", width=3), ResultJob[Size])
    assert_type(await (await resize.submit("u")).result(timeout=5), Size)
    assert_type(await resize.call("u", 3, crop=True), Size)
    assert_type(resize.bind("u"), BoundCall[Size])
    assert_type(await in_a_thread.call(3), str)
    assert_type(await in_a_process.submit(3), ResultJob[str])
    assert_type(await nothing.call(), None)
    assert_type(await deliver.call("u", {"any": object()}), Size)
    assert_type(await bare_context.call(url="u"), Size)
    assert_type(await plain_context.call("u"), Size)
    assert_type(await sync_with_context.call(3), str)
    assert_type(await only_context.enqueue(), Job)
    assert_type(await charge.call(order=3), Size)
    assert_type(await charge.submit(3), ResultJob[Size])
    assert_type(charge.bind(3), BoundCall[Size])


async def wrong_arguments() -> None:
    await resize.call(url="u", width="wide")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await resize.enqueue("u", width="wide")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await resize.submit("u", "wide")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    resize.bind(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await resize(url=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    await resize.call()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await resize.enqueue(width=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    resize.bind()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    in_a_thread()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    await resize.call("u", height=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await resize.call("u", 3, True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await nothing.enqueue(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    await in_a_thread.call("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await charge.call("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await charge.call()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def context_is_no_argument() -> None:
    await deliver.enqueue(None, "u", {})  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
    await deliver.enqueue("u", {}, ctx=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await deliver.call("u", [1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await deliver.call(3, {})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await sync_with_context.call("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def results() -> None:
    job = await resize.enqueue("u")
    job.result()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    size: str = await resize.call("u")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    number: int = in_a_thread(3)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    handle: ResultJob[str] = await resize.submit("u")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(size, number, handle)


async def stubs_have_nothing_to_run() -> None:
    charge(3)  # type: ignore[operator]  # pyright: ignore[reportCallIssue]
    await charge(3)  # type: ignore[operator]  # pyright: ignore[reportCallIssue]


async def options() -> None:
    later = resize.with_options(
        delay=timedelta(hours=1),
        at=None,
        priority=3,
        expires=60,
        reply_timeout=2.5,
        headers={"tenant": "a", "n": 1, "share": 0.5, "paid": True},
        job_id="j1",
    )
    assert_type(await later.call("u", width=3), Size)
    assert_type(await later("u"), Size)
    assert_type(in_a_thread.with_options(delay=3)(3), str)
    assert_type(nothing.with_options(delay=3), AsyncTask[[], None])
    assert_type(resize.bind("u").with_options(at=datetime.now(UTC)), BoundCall[Size])
    same: list[AsyncTask[[], None]] = [nothing, nothing.with_options(delay=1)]
    print(same)

    await later.call("u", width="wide")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    charge.with_options(delay=3)(3)  # type: ignore[operator]  # pyright: ignore[reportCallIssue]
    resize.with_options(countdown=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    resize.with_options(delay="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    resize.with_options(headers={"a": b"x"})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    resize.bind("u").with_options(countdown=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# Declarations


def takes_a_number(n: int) -> int:
    return n


async def no_context(url: str) -> None: ...
async def context_of_another_state(ctx: Context[int], url: str) -> None: ...
async def context_last(url: str, ctx: Context[State]) -> None: ...


plain.task(run="fiber")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
plain.task(retries=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
plain.task(timeout="3 s")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
plain.task("resize")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
plain.remote("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
router.task(context=True)(no_context)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
router.task(context=True)(context_of_another_state)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
router.task(context=True)(context_last)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


def of_any_task(task: AsyncTask[..., Size] | RemoteTask[..., Size] | SyncTask[..., Size]) -> None:
    assert_type(task.name, str)


of_any_task(bare)
of_any_task(resize)
of_any_task(charge)
of_any_task(in_a_thread)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
