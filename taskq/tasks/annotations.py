"""The types of a task's parameters, read once at declaration; what cannot travel as JSON is refused here."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, get_args, get_origin, get_type_hints

import typing_extensions
from pydantic import Secret, SecretBytes, SecretStr

from taskq.errors import DeclarationError

_SECRETS: tuple[Any, ...] = (Secret, SecretStr, SecretBytes)
# two of them: before Python 3.12 typing_extensions has an Unpack of its own
_UNPACK: tuple[Any, ...] = (typing.Unpack, typing_extensions.Unpack)
_LAZY: tuple[Any, ...] = (Iterable, Iterator, Generator, AsyncIterable, AsyncIterator, AsyncGenerator)
_CODE: tuple[Any, ...] = (Callable, type, Awaitable, Coroutine)

_REFUSED = (
    (_SECRETS, "is a secret, which JSON masks; pass a reference to it and read it in the task"),
    (_UNPACK, "uses Unpack; name the parameters one by one"),
    (_LAZY, "is an iterator, which is read once and as it goes; use Sequence[…] or list[…]"),
    (_CODE, "is code, not data; pass its name, or what it returns"),
)


def resolve(task: str, function: Callable[..., Any]) -> dict[str, Any]:
    """Return the evaluated annotations of ``function``, ``Annotated`` kept.

    Names are looked up in the function's module and, when the task is declared inside a function or class of that
    module, in its scope, so that local types work under ``from __future__ import annotations``. Raises
    :class:`DeclarationError`.
    """
    try:
        return get_type_hints(function, localns=_scope_of_declaration(function), include_extras=True)
    except NameError as error:
        raise DeclarationError(
            f"task {task!r}: the annotation {error.name!r} is not defined here; define or import it above the "
            "task (not under TYPE_CHECKING: taskq needs the type when it runs)"
        ) from None
    except Exception as error:  # an annotation is any expression: `"list["`, `1 + "x"`
        raise DeclarationError(
            f"task {task!r}: an annotation cannot be evaluated: {type(error).__name__}: {error}"
        ) from None


def refuse_untravelling(task: str, place: str, annotation: Any) -> None:
    """Raise :class:`DeclarationError` for types that pydantic takes, but that cannot travel as data."""
    kind = get_origin(annotation) or annotation
    for refused, why in _REFUSED:
        if any(kind is one for one in refused):
            raise DeclarationError(f"task {task!r}: {place} {why}")
    for part in get_args(annotation):
        refuse_untravelling(task, place, part)


def _scope_of_declaration(function: Callable[..., Any]) -> dict[str, Any] | None:
    """Return the local names of the scope that declares the task: the nearest frame outside of taskq.

    ``None`` for a function of another module, whose names mean something else there.
    """
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # the inspect module has the same, slower
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("taskq."):
        frame = frame.f_back
    own = getattr(inspect.unwrap(function), "__globals__", None)
    return dict(frame.f_locals) if frame.f_globals is own else None
