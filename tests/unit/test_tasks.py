"""What can be declared as a task, and what is refused at declaration with a text that says what to change."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ParamSpec, TypeVar, TypeVarTuple

import pytest
from pydantic import BaseModel, Field, Secret, SecretBytes, SecretStr
from typing_extensions import TypedDict, Unpack

from taskq.errors import DeclarationError, InvalidArguments, UsageError
from taskq.tasks.context import Context
from taskq.tasks.retry import RetryPolicy
from taskq.tasks.router import Router
from taskq.tasks.task import AsyncTask, RemoteTask, SyncTask
from tests.support.declared import with_state_of_its_own

Ts = TypeVarTuple("Ts")
P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class State:
    name: str


class Options(TypedDict):
    width: int


class NoSchema:
    pass


class Secretive(BaseModel):
    password: SecretStr


def refused(function: Callable[..., Any], **options: Any) -> str:
    """Declare a task that must be refused, and return the text of the refusal."""
    router = Router()
    with pytest.raises(DeclarationError) as caught:
        router.task(**options)(function)
    assert router.tasks == ()
    return str(caught.value)


def body(function: Callable[..., Any], *args: Any, **kwargs: Any) -> bytes:
    return Router().task(function).bind(*args, **kwargs).body


# what a declaration says


def test_async_def_becomes_an_async_task_and_def_a_sync_task() -> None:
    router = Router()

    @router.task
    async def resize(url: str, width: int = 200) -> str:
        """Make it smaller."""
        return url

    @router.task(name="other", queue="q", timeout=3, retry=RetryPolicy(attempts=2))
    def hashed(text: str) -> str:
        return text

    assert isinstance(resize, AsyncTask)
    assert isinstance(hashed, SyncTask)
    assert (resize.name, resize.queue, resize.definition.run) == ("resize", "default", "async")
    assert (hashed.name, hashed.queue, hashed.definition.run) == ("other", "q", "thread")
    assert (resize.definition.timeout_s, resize.definition.retry) == (None, None)
    assert (hashed.definition.timeout_s, hashed.definition.retry) == (3.0, RetryPolicy(attempts=2))
    assert (resize.__name__, resize.__doc__) == ("resize", "Make it smaller.")
    assert resize.definition.module == __name__
    assert repr(hashed) == "<task other on queue q>"


async def test_local_call_runs_the_function_without_any_broker() -> None:
    router = Router()

    @router.task
    async def double(n: int) -> int:
        return 2 * n

    @router.task
    def half(n: int, *, by: int = 2) -> float:
        return n / by

    assert await double(4) == 8
    assert half(4, by=4) == 1.0


@pytest.mark.parametrize("verb", ["enqueue", "submit", "call"])
async def test_using_a_task_in_no_open_app_is_an_error_that_says_so(verb: str) -> None:
    @Router().task
    async def resize(url: str) -> None: ...

    with pytest.raises(UsageError, match=r"task 'resize' is in no open app; enter `async with app:`"):
        await getattr(resize, verb)("u")


def a_process_function(n: int) -> int:
    return n


def test_process_function_at_the_top_of_a_module_is_declared() -> None:
    assert Router().task(run="process")(a_process_function).definition.run == "process"


def test_bound_method_is_a_task_without_its_self() -> None:
    class Shop:
        def greet(self, name: str) -> str:
            return f"hello {name}"

    greet = Router().task(Shop().greet)
    assert greet.bind("you").body == b'{"name":"you"}'
    assert greet("you") == "hello you"


def test_wrapped_function_keeps_the_signature_of_what_it_wraps() -> None:
    def logged(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            return function(*args, **kwargs)

        return wrapper

    @logged
    def add(a: int, b: int) -> int:
        return a + b

    assert body(add, 1, b="2") == b'{"a":1,"b":2}'


def test_function_without_parameters_and_return_type_is_a_task() -> None:
    def tick():  # type: ignore[no-untyped-def]
        pass

    assert body(tick) == b"{}"


def test_lambda_with_a_name_and_no_parameters_is_a_task() -> None:
    assert Router().task(name="now")(lambda: 1).name == "now"


# what is no function


class Callables:
    def __call__(self, n: int) -> int:
        return n


async def agen(n: int) -> AsyncIterator[int]:
    yield n


def gen(n: int) -> Iterator[int]:
    yield n


@pytest.mark.parametrize(
    "thing",
    [
        Callables,
        Callables(),
        functools.partial(a_process_function, 1),
        len,
        3,
        "resize",
        staticmethod(a_process_function),
    ],
    ids=["class", "callable object", "partial", "builtin", "number", "text", "staticmethod"],
)
def test_what_is_no_function_is_refused(thing: Any) -> None:
    assert "is no function; decorate a def or an async def" in refused(thing, name="x")


@pytest.mark.parametrize("function", [gen, agen])
def test_generators_are_refused(function: Callable[..., Any]) -> None:
    assert "is a generator; a task returns one value" in refused(function)


def test_task_of_a_task_is_refused() -> None:
    assert "is no function" in refused(Router().task(a_process_function))


def test_name_in_the_place_of_the_function_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"'resize' is no function"):
        Router().task("resize")  # type: ignore[call-overload]


def test_unknown_option_is_a_type_error_at_once() -> None:
    with pytest.raises(TypeError, match="retries"):
        Router().task(retries=3)  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["", " ", "a b", "a\nb", "<lambda>", "a\0", "\ud800"])
def test_names_that_cannot_travel_are_refused(name: str) -> None:
    assert "printable characters" in refused(a_process_function, name=name)


def test_lambda_needs_a_name() -> None:
    assert "give name='…'" in refused(lambda: 1)


def test_name_longer_than_its_property_is_refused() -> None:
    assert "402 bytes, at most 200" in refused(a_process_function, name="ü" * 201)


@pytest.mark.parametrize("run", ["async", "remote", "fiber", 1])
def test_run_takes_thread_and_process_only(run: Any) -> None:
    assert "a def runs in a 'thread' (the default) or a 'process'" in refused(a_process_function, run=run)


@pytest.mark.parametrize("run", ["thread", "process"])
def test_async_def_runs_on_the_event_loop_only(run: str) -> None:
    async def f() -> None: ...

    assert "is async and runs on the event loop" in refused(f, run=run)


def test_process_needs_a_function_that_the_child_can_import() -> None:
    def local(n: int) -> None: ...

    class Shop:
        def method(self, n: int) -> None: ...

    for function in (local, Shop().method, lambda: None):
        text = refused(function, run="process", name="x")
        assert "run='process' needs a function at the top level of a module" in text


@pytest.mark.parametrize(
    ("timeout", "text"), [(0, "above 0"), (-1, "above 0"), ("3", "no duration"), (1e10, "10 years")]
)
def test_timeout_out_of_range_is_refused(timeout: Any, text: str) -> None:
    assert text in refused(a_process_function, timeout=timeout)


def test_retry_takes_a_policy() -> None:
    assert "give a RetryPolicy(attempts=…)" in refused(a_process_function, retry=3)
    assert "give a RetryPolicy(attempts=…)" in refused(a_process_function, retry=0)


# annotations


def test_parameter_without_annotation_is_refused() -> None:
    def f(url, width: int = 3): ...  # type: ignore[no-untyped-def]

    assert "the parameter 'url' has no annotation" in refused(f)


def test_field_as_a_default_is_refused() -> None:
    def f(width: int = Field(gt=0)) -> None: ...

    assert "write width: Annotated[type, Field(...)] = default" in refused(f)


def test_constraints_in_annotated_hold() -> None:
    def f(width: Annotated[int, Field(gt=0)] = 200) -> None: ...

    assert body(f, 3) == b'{"width":3}'
    with pytest.raises(InvalidArguments, match="width: Input should be greater than 0"):
        body(f, 0)


@pytest.mark.parametrize(
    "field", [Field(alias="w"), Field(validation_alias="w"), Field(serialization_alias="w"), Field(exclude=True),
              Field(default=3), Field(default_factory=int)]
)  # fmt: skip
def test_field_that_changes_more_than_constraints_is_refused(field: Any) -> None:
    def f(width: Annotated[int, field] = 200) -> None: ...

    assert "the Field of 'width' sets an alias, a default or exclude" in refused(f)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (SecretStr, "is a secret"),
        (SecretBytes, "is a secret"),
        (Secret[int], "is a secret"),
        (list[SecretStr], "is a secret"),
        (Annotated[SecretStr | None, Field()], "is a secret"),
        (Iterator[int], "is an iterator"),
        (Iterable[int], "is an iterator"),
        (AsyncIterator[int], "is an iterator"),
        (Callable[[int], str], "is code"),
        (type[int], "is code"),
        (Awaitable[int], "is code"),
        (Coroutine[Any, Any, int], "is code"),
        (NoSchema, "cannot travel as JSON: Unable to generate pydantic-core schema for"),
        (list[NoSchema], "cannot travel as JSON"),
        (memoryview, "cannot travel as JSON"),
        (P.args, "cannot travel as JSON"),
    ],
    ids=str,
)
def test_types_that_cannot_travel_are_refused(kind: Any, text: str) -> None:
    def takes(value: kind) -> None: ...  # type: ignore[valid-type]
    def gives() -> kind: ...  # type: ignore[valid-type]
    def many(*values: kind) -> None: ...  # type: ignore[valid-type]
    def named(**values: kind) -> None: ...  # type: ignore[valid-type]

    for function in (takes, gives, many, named):
        assert text in refused(function)
    assert "arbitrary_types_allowed" not in refused(takes)


def test_unpacked_parameters_are_refused() -> None:
    def keywords(**options: Unpack[Options]) -> None: ...
    def several(*values: *tuple[int, ...]) -> None: ...
    def generic(*values: *Ts) -> None: ...

    for function in (keywords, several, generic):
        assert "uses Unpack; name the parameters one by one" in refused(function)


def test_secret_inside_of_a_model_is_refused_before_it_is_sent_masked() -> None:
    def f(login: Secretive) -> None: ...

    with pytest.raises(InvalidArguments, match=r"login\.password") as caught:
        body(f, {"password": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_name_that_is_not_defined_is_refused() -> None:
    def f(size: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert "the annotation 'Nowhere' is not defined here" in refused(f)


@pytest.mark.parametrize("annotation", ["list[", "1 + 'x'", "1 / 0", "int.nothing"])
def test_annotation_that_cannot_be_evaluated_is_refused(annotation: str) -> None:
    def f(n: int) -> None: ...

    f.__annotations__["n"] = annotation
    assert "an annotation cannot be evaluated" in refused(f)


def test_names_of_a_function_from_another_module_mean_what_they_mean_there() -> None:
    class State(BaseModel):
        """Has the name of a type of that module, and is another one."""

        other: str

    task = Router().task(with_state_of_its_own)
    assert task.bind({"count": 3}).body == b'{"state":{"count":3}}'  # type: ignore[arg-type]
    with pytest.raises(InvalidArguments):
        task.bind(State(other="x"))  # type: ignore[arg-type]


# context


async def with_context(ctx: Context[State], url: str, *, width: int = 3) -> None: ...
async def bare_context(ctx: Context, url: str) -> None: ...
async def positional_context(ctx: Context[State], /) -> None: ...
async def context_last(url: str, ctx: Context[State]) -> None: ...
async def context_twice(ctx: Context[State], other: Context[State]) -> None: ...
async def context_by_name(*, ctx: Context[State]) -> None: ...
async def contexts(*ctx: Context[State]) -> None: ...
async def untyped_context(ctx, url: str) -> None: ...  # type: ignore[no-untyped-def]
async def no_context(url: str) -> None: ...
async def nothing() -> None: ...
def thread_context(ctx: Context[State], url: str) -> None: ...


@pytest.mark.parametrize("function", [with_context, bare_context, thread_context])
def test_context_is_no_part_of_the_signature(function: Callable[..., Any]) -> None:
    task = Router[State]().task(context=True)(function)
    assert task.definition.context
    assert task.bind("u").body == b'{"url":"u"}'
    with pytest.raises(InvalidArguments, match="ctx: is no parameter of this task"):
        task.bind("u", ctx=None)


def test_context_alone_is_a_signature_without_parameters() -> None:
    assert Router[State]().task(context=True)(positional_context).bind().body == b"{}"


@pytest.mark.parametrize("function", [with_context, bare_context, context_last, positional_context, context_by_name])
def test_context_without_the_flag_is_refused(function: Callable[..., Any]) -> None:
    assert "takes a Context: declare it with context=True" in refused(function)


@pytest.mark.parametrize("function", [no_context, nothing, context_last, context_twice, untyped_context])
def test_flag_without_a_context_first_is_refused(function: Callable[..., Any]) -> None:
    assert "with context=True the first parameter, and no other, is ctx: Context" in refused(function, context=True)


@pytest.mark.parametrize("function", [context_by_name, contexts])
def test_context_that_cannot_be_given_by_position_is_refused(function: Callable[..., Any]) -> None:
    assert "the Context is given by position" in refused(function, context=True)


def a_process_with_context(ctx: Context[State], n: int) -> None: ...


def test_context_in_a_process_is_refused() -> None:
    text = refused(a_process_with_context, context=True, run="process")
    assert "a Context cannot follow a task into another process" in text


# stubs


def test_stub_has_a_name_in_full_and_only_a_signature() -> None:
    router = Router(prefix="shop.", queue="shop")

    @router.remote("billing.charge", queue="billing")
    def charge(order: int, *, cents: int = 0) -> int:
        raise NotImplementedError

    assert isinstance(charge, RemoteTask)
    assert (charge.name, charge.queue, charge.definition.run) == ("billing.charge", "billing", "remote")
    assert charge.bind(3, cents=5).body == b'{"order":3,"cents":5}'
    assert not callable(charge)
    assert router.tasks == (charge,)


def test_stub_is_a_def_without_context_and_without_a_taken_name() -> None:
    router = Router()

    @router.remote("charge", queue="billing")
    def charge(order: int) -> int:
        raise NotImplementedError

    async def late(order: int) -> int:
        raise NotImplementedError

    def curious(ctx: Context[State], order: int) -> int:
        raise NotImplementedError

    for stub, text in (
        (late, "is a stub, of which only the signature counts; make it a def"),
        (curious, "is a stub: leave the Context out"),
        (gen, "is a generator"),
    ):
        with pytest.raises(DeclarationError, match=text):
            router.remote("other", queue="billing")(stub)
    with pytest.raises(DeclarationError, match="task 'charge' is declared twice"):
        router.remote("charge", queue="billing")(charge.definition.function)
    with pytest.raises(DeclarationError, match="are taken"):
        router.remote("other", queue="billing.dead")
