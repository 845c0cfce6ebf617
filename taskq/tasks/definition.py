"""What is declared about a task, as one frozen value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_origin

from taskq.errors import DeclarationError
from taskq.tasks.annotations import resolve
from taskq.tasks.context import Context
from taskq.tasks.retry import RetryPolicy, check_retry
from taskq.tasks.signature import Signature

Run = Literal["async", "thread", "process", "remote"]
_LONGEST_NAME = 200  # bytes; AMQP's `type` property has 255


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Handler:
    """What a worker runs: a function, where it runs, and what holds for each attempt.

    ``timeout_s`` and ``retry`` are ``None`` where the app's default holds. ``run``: on the event loop, in a thread, in
    a process, or in other code (a stub). ``context``: its first argument is the Context.
    """

    name: str
    function: Callable[..., Any]
    context: bool
    run: Run
    timeout_s: float | None
    retry: RetryPolicy | None

    @property
    def module(self) -> str:
        """The module that declares the function, for people."""
        return str(getattr(self.function, "__module__", "?"))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TaskDefinition(Handler):
    """A declared task."""

    queue: str
    signature: Signature
    foreign: bool = False
    """A stub of a program without taskq, which gets the JSON of the only argument as the whole body."""


def define(
    function: Callable[..., Any],
    *,
    name: str,
    queue: str,
    context: bool,
    run: Run | None,
    timeout_s: float | None,
    retry: RetryPolicy | None,
    foreign: bool = False,
) -> TaskDefinition:
    """Check a declaration and return it as a value. Raises :class:`DeclarationError` with what to change."""
    check_function("task", name, function)
    check_task_name(name)
    place = _place(name, function, run)
    _check_context(name, function, context=context, run=place)
    check_retry(f"task {name!r}", retry)
    signature = Signature.of(name, function, context=context)
    if foreign and not signature.parameters.only_one:
        raise DeclarationError(f"task {name!r} is of a program without taskq, so it has exactly one parameter")
    return TaskDefinition(
        name=name,
        queue=queue,
        function=function,
        signature=signature,
        foreign=foreign,
        context=context,
        run=place,
        timeout_s=timeout_s,
        retry=retry,
    )


def check_task_name(name: str) -> None:
    """Raise :class:`DeclarationError` when ``name`` cannot name a task."""
    if not isinstance(name, str) or not name or not name.isprintable() or set("< ") & set(name):
        raise DeclarationError(f"task name {name!r}: give name='…' of printable characters without '<' and spaces")
    if len(name.encode()) > _LONGEST_NAME:
        raise DeclarationError(f"task name {name[:40]!r}…: {len(name.encode())} bytes, at most {_LONGEST_NAME}")


def check_function(what: str, name: str, function: Callable[..., Any]) -> None:
    """Raise :class:`DeclarationError` for what no worker can run. ``what`` is a word for what is declared."""
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise DeclarationError(f"{what} {name!r}: {function!r} is no function; decorate a def or an async def")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise DeclarationError(f"{what} {name!r} is a generator; a {what} returns one value (return a list)")


def _place(name: str, function: Callable[..., Any], run: Run | None) -> Run:
    is_async = inspect.iscoroutinefunction(function)
    place: Run = run or ("async" if is_async else "thread")
    if place not in ("async", "thread", "process", "remote"):
        raise DeclarationError(f"task {name!r}: run={run!r}; there are 'thread' and 'process', for def functions")
    if is_async and place == "remote":
        raise DeclarationError(f"task {name!r} is a stub, of which only the signature counts; make it a def")
    if is_async and place != "async":
        raise DeclarationError(f"task {name!r} is async and runs on the event loop; make it a def for run={run!r}")
    if not is_async and place == "async":
        raise DeclarationError(
            f"task {name!r} is a def and never runs on the event loop; use run='thread' or 'process'"
        )
    if place == "process" and not function.__qualname__.isidentifier():
        raise DeclarationError(f"task {name!r}: run='process' needs a function at the top level of a module")
    return place


def _check_context(name: str, function: Callable[..., Any], *, context: bool, run: Run) -> None:
    hints = resolve(name, function)
    parameters = list(inspect.signature(function).parameters.values())
    at = [i for i, p in enumerate(parameters) if _is_context(hints.get(p.name))]
    if run == "remote" and at:
        raise DeclarationError(f"task {name!r} is a stub: leave the Context out, it is no part of the signature")
    if context and run == "process":
        raise DeclarationError(f"task {name!r}: a Context cannot follow a task into another process; drop context=True")
    if context and at != [0]:
        raise DeclarationError(f"task {name!r}: with context=True the first parameter, and no other, is ctx: Context")
    if context and parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise DeclarationError(f"task {name!r}: the Context is given by position; write it first, without a '*'")
    if at and not context:
        raise DeclarationError(f"task {name!r} takes a Context: declare it with context=True")


def _is_context(annotation: Any) -> bool:
    return annotation is Context or get_origin(annotation) is Context
