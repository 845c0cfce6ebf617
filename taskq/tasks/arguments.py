"""From positional and keyword arguments to names and back, by the rules of a Python call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from taskq.errors import DeclarationError, InvalidArguments
from taskq.tasks.annotations import refuse_untravelling


class Arguments(NamedTuple):
    """Arguments ready for ``function(*args, **kwargs)``."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a task as the wire names them.

    ``by_name`` holds all but ``**kwargs``; ``positional`` the names that can be given by position;
    ``variadic`` and ``extra`` the names of ``*args`` and ``**kwargs``, where there are any.
    """

    by_name: dict[str, inspect.Parameter]
    positional: tuple[str, ...]
    positional_only: frozenset[str]
    variadic: str | None
    extra: str | None

    @classmethod
    def of(cls, task: str, function: Callable[..., Any], hints: Mapping[str, Any], *, context: bool) -> Parameters:
        """Read the parameters of ``function``. Raises :class:`DeclarationError` for what cannot travel."""
        listed = list(inspect.signature(function).parameters.values())[1 if context else 0 :]
        for parameter in listed:
            _check(task, parameter, hints)
        by_kind = {p.kind: p.name for p in listed}
        return cls(
            by_name={p.name: p for p in listed if p.kind is not p.VAR_KEYWORD},
            positional=tuple(p.name for p in listed if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)),
            positional_only=frozenset(p.name for p in listed if p.kind is p.POSITIONAL_ONLY),
            variadic=by_kind.get(inspect.Parameter.VAR_POSITIONAL),
            extra=by_kind.get(inspect.Parameter.VAR_KEYWORD),
        )

    @property
    def only_one(self) -> bool:
        """Whether there is exactly one parameter, and no ``*args`` or ``**kwargs``."""
        return len(self.by_name) == 1 and self.variadic is None and self.extra is None

    def by_names(
        self, task: str, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> tuple[dict[str, object], dict[str, object]]:
        """Return what was given as ``(named, extra)``.

        Raises :class:`InvalidArguments` where a call would raise ``TypeError``.
        """
        positional = self.positional
        named: dict[str, object] = dict(zip(positional, args, strict=False))
        if len(args) > len(positional):
            if self.variadic is None:
                raise InvalidArguments(
                    task, [("", f"takes {len(positional)} positional arguments, {len(args)} were given")]
                )
            named[self.variadic] = args[len(positional) :]
        extra: dict[str, object] = {}
        if kwargs:
            for name, value in kwargs.items():
                self._give(task, named, extra, name, value)
        return named, extra

    def to_call(self, values: dict[str, Any], extra: dict[str, Any]) -> Arguments:
        """Return the arguments of the call that ``values`` (by name, validated) and ``extra`` describe."""
        if self.variadic is None and not self.positional_only:
            return Arguments((), values | extra if extra else values)
        variadic = values.pop(self.variadic, ()) if self.variadic is not None else ()
        names = [name for name in self.positional if variadic or name in self.positional_only]
        while names and not variadic and names[-1] not in values:
            names.pop()
        args = [values.pop(name) if name in values else self.by_name[name].default for name in names]
        return Arguments((*args, *variadic), values | extra)

    def _give(self, task: str, named: dict[str, object], extra: dict[str, object], name: str, value: object) -> None:
        ordinary = name in self.by_name and name not in self.positional_only and name != self.variadic
        if ordinary and name not in named:
            named[name] = value
        elif ordinary:
            raise InvalidArguments(task, [(name, "was given twice, by position and by name")])
        elif name in self.by_name:
            raise InvalidArguments(task, [(name, "cannot be given by name")])
        elif self.extra is None:
            known = ", ".join(self.by_name) or "none"
            raise InvalidArguments(task, [(name, f"is no parameter of this task (there are: {known})")])
        else:
            extra[name] = value


def _check(task: str, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> None:
    name = parameter.name
    if name not in hints:
        raise DeclarationError(
            f"task {task!r}: the parameter {name!r} has no annotation; arguments are validated by type, so write "
            f"one (for example {name}: int)"
        )
    if isinstance(parameter.default, FieldInfo):
        raise DeclarationError(
            f"task {task!r}: the default of {name!r} is a Field; write {name}: Annotated[type, Field(...)] = default"
        )
    if any(isinstance(part, FieldInfo) and _renames(part) for part in get_args(hints[name])):
        raise DeclarationError(
            f"task {task!r}: the Field of {name!r} sets an alias, a default or exclude; on the wire a parameter has "
            "the function's name and default, so keep to constraints (gt, max_length, pattern, …)"
        )
    refuse_untravelling(task, f"the parameter {name!r}", hints[name])


def _renames(field: FieldInfo) -> bool:
    aliases = (field.alias, field.validation_alias, field.serialization_alias, field.exclude)
    return any(aliases) or field.default_factory is not None or field.default not in (PydanticUndefined, ...)
