"""Stubs of plain AMQP programs: what can be one, the body that it sends, and the answers that it understands."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from taskq import DeclarationError, InvalidArguments, RemoteTask, Router, TaskFailed, UndecodableMessage
from taskq.wire.message import Message
from tests.support.fakebroker import Client, FakeBroker


class Point(BaseModel):
    x: int
    y: int = 0


def fib(n: int) -> int: ...  # type: ignore[empty-body]


def keyword(*, size: int = 7) -> None: ...


def only(n: int, /) -> None: ...


def point(at: Point) -> Point: ...  # type: ignore[empty-body]


def say(text: str) -> str: ...  # type: ignore[empty-body]


def raw(data: bytes) -> bytes: ...  # type: ignore[empty-body]


def anything(value: Any) -> Any: ...


def maybe(n: int | None = None) -> int | None: ...


def stub(function: Callable[..., Any]) -> RemoteTask[..., Any]:
    return Router().remote(function.__name__, queue="theirs", foreign=True)(function)


def none() -> None: ...


def two(a: int, b: int = 2) -> None: ...


def several(*many: int) -> None: ...


def more(a: int, **more: int) -> None: ...


def all_of(a: int, *many: int, **more: int) -> None: ...


@pytest.mark.parametrize("function", [none, two, several, more, all_of], ids=lambda function: function.__name__)
def test_a_stub_of_a_plain_program_has_exactly_one_parameter(function: Callable[..., Any]) -> None:
    with pytest.raises(DeclarationError, match="of a program without taskq, so it has exactly one parameter"):
        stub(function)
    Router().remote("ours", queue="ours")(function)


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "body"),
    [
        (fib, (30,), {}, b"30"),
        (fib, ("30",), {}, b"30"),
        (fib, (), {"n": 30}, b"30"),
        (keyword, (), {"size": 3}, b"3"),
        (only, (3,), {}, b"3"),
        (point, (Point(x=1),), {}, b'{"x":1,"y":0}'),
        (say, ('a "text"',), {}, b'"a \\"text\\""'),
        (say, ("grüße",), {}, '"grüße"'.encode()),
        (raw, (b"\x00\xff",), {}, b'"AP8="'),
        (anything, ([1, None],), {}, b"[1,null]"),
        (maybe, (None,), {}, b"null"),
    ],
)
def test_the_body_is_the_json_of_the_argument(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], body: bytes
) -> None:
    assert stub(function).bind(*args, **kwargs).body == body


@pytest.mark.parametrize(
    ("function", "args", "text"),
    [
        (keyword, (), "size: is the whole message to a plain AMQP program; give it"),
        (maybe, (), "n: is the whole message to a plain AMQP program; give it"),
        (fib, (), "n: is required"),
        (fib, ("many",), "n: Input should be a valid integer"),
        (fib, (1, 2), "takes 1 positional arguments, 2 were given"),
    ],
)
def test_an_argument_that_is_left_out_or_does_not_fit_is_refused(
    function: Callable[..., Any], args: tuple[Any, ...], text: str
) -> None:
    with pytest.raises(InvalidArguments, match=text):
        stub(function).bind(*args)


@pytest.mark.parametrize(
    ("function", "body", "result"),
    [
        (fib, b"832040", 832040),
        (fib, b" 832040\n", 832040),
        (fib, b'"832040"', 832040),
        (say, b"hello", "hello"),
        (say, b'"hello"', "hello"),
        (say, b"832040", "832040"),
        (say, b"null", "null"),
        (say, b"", ""),
        (say, b"{not json", "{not json"),
        (raw, b"\xff\x00", b"\xff\x00"),
        (point, b'{"x":1}', Point(x=1)),
        (anything, b"hello", "hello"),
        (anything, b"[1]", [1]),
        (only, b"null", None),
        (only, b"", None),
        (maybe, b"", None),
    ],
)
def test_an_answer_is_json_or_text(function: Callable[..., Any], body: bytes, result: object) -> None:
    assert stub(function).definition.signature.decode_foreign_result(body) == result


@pytest.mark.parametrize(
    ("function", "body"), [(fib, b"many"), (fib, b""), (fib, b"\xff"), (only, b"ok"), (say, b"\xff")]
)
def test_an_answer_that_does_not_fit_says_so(function: Callable[..., Any], body: bytes) -> None:
    with pytest.raises(UndecodableMessage, match="the result does not fit the return type"):
        stub(function).definition.signature.decode_foreign_result(body)


async def answered(kind: str | None, body: bytes, *, foreign: bool = True) -> Any:
    """Call a stub whose other side answers with this type and body."""
    router, broker = Router(), FakeBroker()
    task = router.remote("fib", queue="theirs", foreign=foreign)(fib)
    Client(router, broker)
    job = await task.submit(30)
    sent = broker.published[0].message
    broker.inboxes[0].receive(Message(body=body, message_id="", type=kind, correlation_id=sent.correlation_id))
    return await job.result()


@pytest.mark.parametrize("kind", [None, "", "result", "fib", "answer"])
async def test_an_answer_of_a_plain_program_may_be_of_any_type_but_error(kind: str | None) -> None:
    assert await answered(kind, b"832040") == 832040


async def test_a_plain_program_may_answer_with_an_error() -> None:
    with pytest.raises(TaskFailed, match="too large"):
        await answered("error", b'{"type": "ValueError", "message": "too large"}')
    with pytest.raises(UndecodableMessage, match="an error reply that cannot be read"):
        await answered("error", b"too large")


async def test_an_answer_of_our_own_is_of_a_type_that_we_know() -> None:
    with pytest.raises(UndecodableMessage, match="unknown type 'fib'"):
        await answered("fib", b"832040", foreign=False)
