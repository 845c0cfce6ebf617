"""What a value lost on its way through JSON: the value that was given against the one that would arrive.

pydantic writes more than it can read back as the same: a subclass in a field of its base class, the second of two
models that look alike, a ``datetime`` under ``Any``, half of a surrogate pair as a key. Comparing with ``==`` alone
would call NaN a change.

Allowed to change: a tuple may arrive as a list and any mapping as a dict (where the declared type takes both), a
subclass of a plain value (a ``StrEnum`` for ``str``) as that value, a time zone as its offset. Private attributes of
models are no part of their data.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel

_LONGEST_SHOWN = 60  # characters

Difference = tuple[str, str]
"""The place of a change (``items.3.name``, empty for the whole) and a text that says what changed."""


def difference(given: object, arrives: object, place: str = "") -> Difference | None:
    """Return the first change between what was given and what would arrive, or ``None`` when nothing is lost."""
    if type(given) is type(arrives) and given == arrives:
        return None  # nearly always, and without a loop in Python
    parts = _parts_of(type(given), type(arrives))
    if parts is None:
        return None if _same(given, arrives) else (place, _text(given, arrives))
    mine, theirs = list(parts(given)), list(parts(arrives))
    if len(mine) != len(theirs):
        return place, _text(given, arrives)
    for (name, value), (its_name, its_value) in zip(mine, theirs, strict=True):
        if not _same(name, its_name):
            return place, f"the key {_text(name, its_name)}"
        if found := difference(value, its_value, f"{place}.{name}" if place else str(name)):
            return found
    return None


_Parts = Callable[[Any], Iterable[tuple[Any, Any]]]


def _parts_of(kind: type[object], its_kind: type[object]) -> _Parts | None:
    """Return how to take both apart into names and values, or ``None`` when they are compared as they are."""
    if all(issubclass(one, Mapping) for one in (kind, its_kind)):
        return _items
    if {kind, its_kind} <= {list, tuple}:
        return enumerate
    if kind is not its_kind:
        return None
    if issubclass(kind, (set, frozenset)):
        return _elements
    if issubclass(kind, BaseModel):
        return _model_fields
    if hasattr(kind, "__dataclass_fields__"):
        return _dataclass_fields
    return enumerate if issubclass(kind, (list, tuple, deque)) else None


def _items(value: Mapping[Any, Any]) -> Iterable[tuple[Any, Any]]:
    return value.items()


def _elements(value: Any) -> Iterable[tuple[int, Any]]:
    # only sets that `==` calls different come here: with NaN in them, or with a change to tell
    return enumerate(sorted(value, key=lambda element: (type(element).__name__, repr(element))))


def _model_fields(value: BaseModel) -> Iterable[tuple[str, Any]]:
    declared = ((name, getattr(value, name, None)) for name in type(value).model_fields)
    return (*declared, *(value.model_extra or {}).items())


def _dataclass_fields(value: Any) -> Iterable[tuple[str, Any]]:
    return ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))


def _same(given: object, arrives: object) -> bool:
    if isinstance(given, datetime) and isinstance(arrives, datetime):
        # `==` between two time zones is false in the hour that a change of clocks repeats
        return given.utcoffset() == arrives.utcoffset() and _wall(given) == _wall(arrives)
    if not isinstance(given, type(arrives)):
        return False
    if given != given and arrives != arrives:  # noqa: PLR0124  # NaN, of whatever type, is not equal to itself
        return True
    # what has no equality of its own cannot be compared; pydantic has read it back as the declared type
    compares: object = type(given).__eq__
    return compares is object.__eq__ or bool(given == arrives)


def _wall(value: datetime) -> datetime:
    return value.replace(tzinfo=None, fold=0)


def _text(given: object, arrives: object) -> str:
    return f"{_short(given)} would arrive as {_short(arrives)}; the declared type cannot carry it through JSON"


def _short(value: object) -> str:
    return f"{type(value).__name__} {shown(value)}"


def shown(value: object) -> str:
    """Return a value as text for a message, cut to 60 characters. It survives values whose ``repr`` raises."""
    try:
        text = repr(value)
    except Exception as broken:  # also an int of more than 4300 digits, which Python does not print
        return f"<a {type(value).__name__} that cannot be shown: {type(broken).__name__}>"
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
