"""One declared type, as JSON: values are validated, written, and read back by it.

Types are pydantic's, in lax mode. What is written has been read back and compared first, so that a value either
arrives as it was given or is refused here; see :mod:`taskq.tasks.difference`. Never raises what user code inside
pydantic (validators, serializers) raises: that too is a value that does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from taskq.errors import DeclarationError
from taskq.tasks.difference import difference, shown

# They hold for all but models and other types with settings of their own. Two, because the one for JSON would make
# base64 also of a text that a Python caller gives for bytes.
_PYTHON = ConfigDict(extra="forbid")
_JSON = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")
_TUPLE: Any = tuple  # `tuple[…]` of a type that is known at run time only
_MOST_PROBLEMS = 10
_LONGEST_NAME = 80  # characters
_MOST_LISTED = 1_000  # pydantic lists all or none, at some 500 bytes each
_PLAIN = {"tuple", "typed-dict", "typed-dict-field", "list", "nullable", "none", "bool", "int", "float", "str"}
# what the list around the value says when its text is not exactly one JSON value
_NO_VALUE = {("json_invalid", ()), ("too_long", ()), ("missing", (0,))}


class Misfit(Exception):
    """A value or a JSON text that does not fit the type. ``unreadable``: it is not even JSON."""

    def __init__(self, problems: Sequence[tuple[str, str]], *, unreadable: bool = False) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)
        self.unreadable = unreadable


class JsonType:
    """A type whose values travel as JSON.

    The value stands in a list of one element: only there pydantic takes a configuration for every kind of type, and
    a text that makes ``[text]`` such a list is one whole JSON value, nothing less and nothing more.
    """

    __slots__ = ("_read", "_validate", "_write")

    def __init__(self, task: str, place: str, annotation: Any) -> None:
        """Raise :class:`DeclarationError`, naming ``task`` and ``place``, for what pydantic cannot handle."""
        try:
            python: TypeAdapter[tuple[Any]] = TypeAdapter(_TUPLE[(annotation,)], config=_PYTHON)
            json: TypeAdapter[tuple[Any]] = TypeAdapter(_TUPLE[(annotation,)], config=_JSON)
            self._validate = python.validator.validate_python
            self._read = json.validator.validate_json
            write = json.serializer.to_json
            # To ask for warnings as errors costs as much as all else of a write.
            self._write: Callable[[object], bytes] = (
                partial(write, by_alias=True, round_trip=True)
                if _is_plain(json.core_schema)
                else partial(write, by_alias=True, round_trip=True, warnings="error")
            )
        except (PydanticUserError, TypeError, NameError) as error:
            why = str(error).splitlines()[0].split(". ")[0]
            raise DeclarationError(f"task {task!r}: {place} cannot travel as JSON: {why}") from error

    def write(self, value: object) -> bytes:
        """Return ``value``, validated, as JSON that reads back as the same. Raises :class:`Misfit`."""
        try:
            valid = self._validate((value,))
            text = self._write(valid)
            arrives = self._reread(text)
            changed = difference(valid[0], arrives[0])
        except Misfit:
            raise
        except Exception as error:
            raise _misfit(error, "cannot be written as JSON: ") from error
        if changed is not None:
            raise Misfit([changed])
        return text[1:-1]

    def read(self, text: bytes) -> Any:
        """Return the value that ``text`` carries, in the declared type. Raises :class:`Misfit`."""
        try:
            return self._read(b"[" + text + b"]")[0]
        except Exception as error:
            raise _misfit(error, "") from error

    def convert(self, value: object) -> Any:
        """Return a value as the declared type takes it, without any JSON. Raises :class:`Misfit`."""
        try:
            return self._validate((value,))[0]
        except Exception as error:
            raise _misfit(error, "") from error

    def _reread(self, text: bytes) -> Any:
        try:
            return self._read(text)
        except ValidationError as error:
            misfit = _misfit(error, "")
            raise Misfit(
                [(place, f"what JSON makes of it cannot be read back: {why}") for place, why in misfit.problems]
            ) from error


def _is_plain(schema: object) -> bool:
    """Whether a core schema holds nothing but types of which a valid value is always written without a warning."""
    if isinstance(schema, dict):
        parts = cast("dict[str, object]", schema)
        kind = parts.get("type")
        if "serialization" in parts or (isinstance(kind, str) and kind not in _PLAIN):
            return False
        return all(map(_is_plain, parts.values()))
    return not isinstance(schema, list | tuple) or all(map(_is_plain, cast("Sequence[object]", schema)))


def _misfit(error: Exception, what: str) -> Misfit:
    if not isinstance(error, ValidationError):
        return Misfit([("", f"{what}{type(error).__name__}: {error}")])
    if (count := error.error_count()) > _MOST_LISTED:
        return Misfit([("", f"{what}{count:,} values in it do not fit")])
    listed = error.errors(include_url=False, include_context=False)[:_MOST_PROBLEMS]
    problems = [(_place(e["loc"][1:]), _text(e["msg"], e["input"], e["type"])) for e in listed]
    return Misfit(problems, unreadable=(listed[0]["type"], listed[0]["loc"]) in _NO_VALUE)


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part)[:_LONGEST_NAME] for part in location)  # a key is whatever the sender wrote there


def _text(message: str, given: object, kind: str) -> str:
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "is unknown; there is no such parameter or field"
    if kind == "json_invalid":
        return message
    return f"{message} (got {shown(given)})"
