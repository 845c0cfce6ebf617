"""From a call to a body and back: names, positions, ``*args``, ``**kwargs``; and bodies of plain AMQP programs."""

import inspect
import json
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, JsonValue
from typing_extensions import TypedDict

from taskq.errors import InvalidArguments, UndecodableMessage
from taskq.tasks.router import Router
from taskq.tasks.signature import Signature


class Size(BaseModel):
    width: int


class Node(BaseModel):
    value: int
    next: "Node | None" = None


class Movie(TypedDict):
    title: str


def plain(url: str, width: int = 200) -> str: ...
def positional(a: int, b: int = 2, /, c: int = 3, *, d: int = 4) -> None: ...
def optional(a: int = 1, /, b: int = 2) -> None: ...
def variadic(first: str, *rest: int, flag: bool = False) -> None: ...
def extra(first: int = 0, **more: float) -> None: ...
def everything(a: int, /, b: int = 2, *args: int, c: int, d: int = 4, **kwargs: str) -> None: ...
def nothing() -> None: ...
def only_args(*args: int) -> None: ...
def only_kwargs(**kwargs: Size) -> None: ...
def untyped_return(n: int): ...  # type: ignore[no-untyped-def]
def number(n: int) -> int: ...
def text(body: str) -> None: ...
def raw(data: bytes) -> None: ...
def anything(value: Any) -> None: ...
def day(when: date) -> None: ...
def sizes(items: list[Size]) -> None: ...
def maybe(n: int | None) -> None: ...
def deep(value: JsonValue, node: Node | None = None) -> None: ...


FUNCTIONS: list[Callable[..., Any]] = [plain, positional, optional, variadic, extra, everything, nothing, only_args,
    only_kwargs, untyped_return, number, text, raw, anything, day, sizes, maybe, deep]  # fmt: skip


def signature(function: Callable[..., Any]) -> Signature:
    return Router().task(function).definition.signature


def test_body_is_an_object_of_what_was_given_by_name() -> None:
    both = signature(plain)
    assert both.encode(("u",), {}) == b'{"url":"u"}'
    assert both.encode(("u", 64), {}) == both.encode((), {"width": 64, "url": "u"}) == b'{"url":"u","width":64}'
    assert signature(nothing).encode((), {}) == b"{}"


def test_bind_validates_and_captures_before_anything_is_sent() -> None:
    sizes_task = Router().task(sizes)
    given = [Size(width=1)]
    call = sizes_task.bind(given)
    given[0].width = 99
    given.clear()
    assert call.body == b'{"items":[{"width":1}]}'
    assert (call.task, call.queue) == ("sizes", "default")
    with pytest.raises(InvalidArguments, match=r"^sizes: items\.0\.width: "):
        sizes_task.bind([{"width": "wide"}])


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], bytes]] = [
    (positional, (1,), {}, b'{"a":1}'),
    (positional, (1, 5, 6), {"d": 7}, b'{"a":1,"b":5,"c":6,"d":7}'),
    (positional, (1,), {"c": 6}, b'{"a":1,"c":6}'),
    (optional, (), {"b": 5}, b'{"b":5}'),
    (optional, (7,), {"b": 5}, b'{"a":7,"b":5}'),
    (variadic, ("x",), {}, b'{"first":"x"}'),
    (variadic, ("x", 1, 2), {"flag": True}, b'{"first":"x","rest":[1,2],"flag":true}'),
    (extra, (), {"a": 1.5, "b": 2.0}, b'{"a":1.5,"b":2.0}'),
    (extra, (3,), {"ü": 1.0}, '{"first":3,"ü":1.0}'.encode()),
    (everything, (1, 2, 3), {"c": 4, "x": "y"}, b'{"a":1,"b":2,"args":[3],"c":4,"x":"y"}'),
    (everything, (1,), {"c": 4}, b'{"a":1,"c":4}'),
    (only_args, (), {}, b"{}"),
    (only_args, (1, 2), {}, b'{"args":[1,2]}'),
    (only_kwargs, (), {"a": Size(width=1)}, b'{"a":{"width":1}}'),
    (only_kwargs, (), {"self": {"width": 1}}, b'{"self":{"width":1}}'),
]  # fmt: skip


def shown(value: object) -> str:
    """Return the same text in every process: a function by its name, not by its address."""
    return value.__name__ if inspect.isfunction(value) else str(value)


@pytest.mark.parametrize(("function", "args", "kwargs", "body"), CALLS, ids=shown)
def test_worker_calls_the_function_as_the_caller_did(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], body: bytes
) -> None:
    both = signature(function)
    assert both.encode(args, kwargs) == body
    pairs = json.loads(body, object_pairs_hook=list)
    assert len(pairs) == len({name for name, _ in pairs}), "one key for each name"
    arguments = both.decode(body)
    called = inspect.signature(function).bind(*arguments.args, **arguments.kwargs)
    meant = inspect.signature(function).bind(*args, **kwargs)
    called.apply_defaults()
    meant.apply_defaults()
    if function is only_kwargs:
        assert called.arguments == {"kwargs": {name: Size(width=1) for name in kwargs}}
    else:
        assert called.arguments == meant.arguments


BAD_CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = [
    (plain, (), {}, "plain: url: is required"),
    (plain, ("u", 1, 2), {}, "plain: takes 2 positional arguments, 3 were given"),
    (plain, ("u",), {"url": "v"}, "url: was given twice, by position and by name"),
    (plain, ("u",), {"height": 1}, r"height: is no parameter of this task \(there are: url, width\)"),
    (nothing, (), {"x": 1}, r"x: is no parameter of this task \(there are: none\)"),
    (plain, (3,), {"width": "wide"}, "plain: url: .*; width: Input should be a valid integer"),
    (positional, (), {"a": 1}, "a: cannot be given by name"),
    (positional, (1,), {"b": 1}, "b: cannot be given by name"),
    (variadic, ("x",), {"rest": [1]}, "rest: cannot be given by name"),
    (variadic, ("x", 1, "two"), {}, r"rest\.1: Input should be a valid integer"),
    (extra, (), {"a": "b"}, "a: Input should be a valid number"),
    (everything, (1,), {"c": 1, "args": "x"}, "args: cannot be given by name"),
    (everything, (1,), {"c": 1, "a": "x"}, "a: cannot be given by name"),
    (everything, (1,), {"x": "y"}, "c: is required"),
]


@pytest.mark.parametrize(("function", "args", "kwargs", "text"), BAD_CALLS, ids=shown)
def test_call_that_python_or_the_types_refuse_is_refused(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidArguments, match=text) as caught:
        signature(function).encode(args, kwargs)
    assert caught.value.task == function.__name__
    assert caught.value.problems


def test_only_the_first_problems_of_many_are_listed() -> None:
    with pytest.raises(InvalidArguments) as caught:
        signature(only_args).encode(("x",) * 1000, {})
    assert len(caught.value.problems) == 10


def test_value_in_a_message_is_cut() -> None:
    with pytest.raises(InvalidArguments) as caught:
        signature(number).encode(("x" * 10_000,), {})
    assert len(str(caught.value)) < 300


def test_value_whose_text_raises_is_refused_like_others() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(InvalidArguments, match="a Rude that cannot be shown"):
        signature(number).encode((Rude(),), {})


def test_defaults_are_the_worker_s_and_never_travel() -> None:
    arguments = signature(plain).decode(b'{"url":"u"}')
    assert (arguments.args, arguments.kwargs) == ((), {"url": "u"})


def test_argument_after_a_positional_only_default_keeps_its_place() -> None:
    arguments = signature(optional).decode(b'{"b":5}')
    assert (arguments.args, arguments.kwargs) == ((), {"b": 5})


def test_missing_defaults_are_filled_in_before_args() -> None:
    arguments = signature(everything).decode(b'{"a":1,"args":[9],"c":3}')
    assert (arguments.args, arguments.kwargs) == ((1, 2, 9), {"c": 3})


def test_types_arrive_as_declared() -> None:
    assert signature(day).decode(b'{"when":"2030-01-01"}').kwargs == {"when": date(2030, 1, 1)}
    assert signature(only_kwargs).decode(b'{"a":{"width":1}}').kwargs == {"a": Size(width=1)}


def test_result_is_the_bare_json_of_the_value() -> None:
    assert signature(plain).encode_result("ü") == '"ü"'.encode()
    assert signature(nothing).encode_result(None) == b"null"
    assert signature(untyped_return).encode_result({"a": [1, None]}) == b'{"a":[1,null]}'
    with pytest.raises(InvalidArguments, match="plain: result: Input should be a valid string"):
        signature(plain).encode_result(3)


# hostile bodies


INVALID_JSON = [
    b"", b" ", b"{", b"}", b"[", b"nul", b"{}{}", b'{"url":"u"} x', b'{"url":"u"},{"url":"v"}', b'{"url":"u",}',
    b'\xef\xbb\xbf{"url":"u"}', b'{"url":"u"}\x00', b'\x00{"url":"u"}', b'{"url":"\xff"}', b'{"url":"\\ud800"}',
    b'{"url":"a\nb"}', "{}".encode("utf-16"), "{}".encode("utf-32"), b'{"url":' + b"[" * 100_000,
    b'{"url":' + b'{"a":' * 100_000, b'{"url":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"{'url':'u'}", b"{url:1}",
    b'{"url":"u","width":' + b"9" * 5000 + b"}", b'{"url":"u"}]', b'{"url":"u"}],[{"url":"u"}', b"\x80\x04]",
]  # fmt: skip
NO_OBJECT = [b"null", b"1", b"[]", b'["u"]', b'"u"', b"true", b"NaN", b"1e999"]
DOES_NOT_FIT = [
    b"{}", b'{"url":1}', b'{"url":null}', b'{"url":["u"]}', b'{"url":"u","width":"wide"}', b'{"url":"u","width":1e999}',
    b'{"url":"u","height":1}', b'{"url":"u","width":1.5}', b'{"url":"u","width":NaN}', b'{"url":"u","width":{}}',
    b'{"url":"u","":1}', b'{"self":1}',
]  # fmt: skip


@pytest.mark.parametrize("body", INVALID_JSON + NO_OBJECT, ids=lambda body: repr(body[:30]))
@pytest.mark.parametrize("function", [plain, everything])
def test_body_that_is_no_json_object_is_undecodable(function: Callable[..., Any], body: bytes) -> None:
    with pytest.raises(UndecodableMessage, match="the body is no JSON object") as caught:
        signature(function).decode(body)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("body", DOES_NOT_FIT, ids=repr)
def test_body_whose_values_do_not_fit_names_them(body: bytes) -> None:
    with pytest.raises(InvalidArguments):
        signature(plain).decode(body)


def test_key_that_is_given_twice_counts_as_its_last_value() -> None:
    for function in (plain, everything):
        known = b'{"url":"u","url":"v"}' if function is plain else b'{"a":1,"a":2,"c":3}'
        assert {"v", 2} & {*signature(function).decode(known).args, *signature(function).decode(known).kwargs.values()}


def test_huge_numbers_are_read_as_python_reads_them() -> None:
    assert signature(number).decode(b'{"n":' + b"9" * 4000 + b"}").kwargs == {"n": 10**4000 - 1}
    assert signature(anything).decode(b'{"value":1e999}').kwargs == {"value": float("inf")}


junk = st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="replace"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["url", "width", "a", "b", "c", "args", "rest", "n", "value", "node", "items", "self", ""])
objects = st.dictionaries(names, values, max_size=4).map(lambda value: json.dumps(value).encode())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A JSON object with a piece cut out, or other bytes put in."""
    body = draw(objects)
    start = draw(st.integers(0, len(body)))
    end = draw(st.integers(start, len(body)))
    return body[:start] + draw(st.binary(max_size=3)) + body[end:]


@settings(max_examples=250)
@given(body=junk | objects | damaged(), function=st.sampled_from(FUNCTIONS))
@example(body=b"{" * 100_000, function=deep)
@example(body=b'{"node":' * 100_000, function=deep)
@example(body=b'{"value":' + b"-" * 10, function=deep)
def test_hostile_bodies_raise_only_what_a_worker_expects(body: bytes, function: Callable[..., Any]) -> None:
    both = signature_of[function]
    texts: list[str] = []
    for decode in (both.decode, both.decode_foreign):
        try:
            arguments = decode(body)
        except (InvalidArguments, UndecodableMessage) as error:
            texts.append(str(error))
        else:
            # what was accepted can be called
            inspect.signature(function).bind(*arguments.args, **arguments.kwargs)
    assert all(len(text) < 3_000 for text in texts)
    try:
        both.decode_result(body)
    except UndecodableMessage:
        pass
    else:
        # a result is one whole JSON value
        json.loads(body.decode())


signature_of = {function: signature(function) for function in FUNCTIONS}


@pytest.mark.parametrize("body", [b"", b"1,2", b"1]", b"1],[2", b"[1", b"1 2", b" ", b"//", b'1,"value":2', b"1}"])
def test_result_that_is_not_exactly_one_json_value_is_undecodable(body: bytes) -> None:
    for function in (number, untyped_return):
        with pytest.raises(UndecodableMessage, match="the result does not fit the return type"):
            signature(function).decode_result(body)


def test_result_of_another_type_is_undecodable_and_says_so() -> None:
    with pytest.raises(UndecodableMessage, match="number: the result does not fit the return type: Input should be"):
        signature(number).decode_result(b'"x"')


# bodies of plain AMQP programs


@pytest.mark.parametrize(
    ("function", "body", "arguments"),
    [
        (number, b"30", {"n": 30}),
        (number, b" 30 ", {"n": 30}),
        (number, b'"30"', {"n": 30}),
        (number, b'{"n":30}', {"n": 30}),
        (text, b"hello", {"body": "hello"}),
        (text, "grüße".encode(), {"body": "grüße"}),
        (text, b'"quoted"', {"body": "quoted"}),
        (text, b"12", {"body": "12"}),
        (text, b"null", {"body": "null"}),
        (text, b"", {"body": ""}),
        (text, b"{not json", {"body": "{not json"}),
        (text, b"[1, 2]", {"body": "[1, 2]"}),
        (raw, b"\xff\x00raw", {"data": b"\xff\x00raw"}),
        (raw, b"abcd", {"data": b"abcd"}),
        (raw, b'"AP8="', {"data": b"\x00\xff"}),
        (anything, b"hello", {"value": "hello"}),
        (anything, b"[1]", {"value": [1]}),
        (anything, b"null", {"value": None}),
        (maybe, b"null", {"n": None}),
        (day, b"2030-01-01", {"when": date(2030, 1, 1)}),
        (sizes, b'[{"width":1}]', {"items": [Size(width=1)]}),
        (extra, b"3", {"first": 3}),
        (nothing, b"", {}),
        (nothing, b" ", {}),
        (nothing, b"{}", {}),
        (plain, b'{"url":"u"}', {"url": "u"}),
    ],
    ids=shown,
)
def test_foreign_body_is_the_parameters_or_the_only_argument(
    function: Callable[..., Any], body: bytes, arguments: dict[str, Any]
) -> None:
    assert signature(function).decode_foreign(body).kwargs == arguments


def test_foreign_body_is_one_of_args() -> None:
    assert signature(only_args).decode_foreign(b"3").args == (3,)
    assert signature(only_args).decode_foreign(b'{"args":[3,4]}').args == (3, 4)

    def words(*words: str) -> None: ...

    assert signature(words).decode_foreign(b"hello world").args == ("hello world",)


def test_foreign_body_for_a_positional_only_parameter_is_given_by_position() -> None:
    def single(n: int, /) -> None: ...

    assert signature(single).decode_foreign(b"3").args == (3,)


@pytest.mark.parametrize(
    ("function", "body", "error", "text"),
    [
        (number, b"many", InvalidArguments, "n: Input should be a valid integer.*many"),
        (number, b"[1]", InvalidArguments, r"n: Input should be a valid integer \(got \[1\]\)"),
        (number, b"", InvalidArguments, "n: "),
        (number, b'{"m":3}', InvalidArguments, "m: is unknown"),
        (number, b"\xff", InvalidArguments, "n: "),
        (text, b"\xff", InvalidArguments, "body: Input should be a valid string"),
        (sizes, b'[{"width":"wide"}]', InvalidArguments, r"items\.0\.width"),
        (plain, b"u", UndecodableMessage, "plain has 2 parameters, not exactly one"),
        (nothing, b"u", UndecodableMessage, "nothing has 0 parameters, not exactly one"),
        (only_kwargs, b"u", UndecodableMessage, "only_kwargs has 0 parameters, not exactly one"),
    ],
    ids=shown,
)
def test_foreign_body_that_does_not_fit_is_refused(
    function: Callable[..., Any], body: bytes, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        signature(function).decode_foreign(body)


def test_constraints_hold_on_the_worker_too() -> None:
    def resize(width: Annotated[int, Field(gt=0)], movie: Movie | None = None) -> None: ...

    with pytest.raises(InvalidArguments, match="width: Input should be greater than 0"):
        signature(resize).decode(b'{"width":0}')
    with pytest.raises(InvalidArguments, match=r"movie\.year: is unknown"):
        signature(resize).decode(b'{"width":1,"movie":{"title":"x","year":1}}')
