"""The signature of a task: from arguments to a JSON body and back, and the same for its result.

Built once, at declaration. What cannot travel as JSON is refused then, with a text that says what to change. The
sender validates before anything is sent, the worker validates again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NotRequired, Required, cast

from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from taskq.errors import InvalidArguments, UndecodableMessage
from taskq.tasks.annotations import refuse_untravelling, resolve
from taskq.tasks.arguments import Arguments, Parameters
from taskq.tasks.jsontype import JsonType, Misfit


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """The parameters and the result of one task."""

    task: str
    parameters: Parameters
    _known: JsonType
    _extra: JsonType | None
    _result: JsonType

    @classmethod
    def of(cls, task: str, function: Callable[..., Any], *, context: bool) -> Signature:
        """Read the signature of ``function``; with ``context`` its first parameter, the Context, is left out.

        Raises :class:`DeclarationError` for what cannot be a task.
        """
        hints = resolve(task, function)
        parameters = Parameters.of(task, function, hints, context=context)
        returns = hints.get("return", Any)
        refuse_untravelling(task, "the return type", returns)
        extra: JsonType | None = None
        if parameters.extra is not None:
            extra = JsonType(task, f"**{parameters.extra}", _DICT[str, hints[parameters.extra]])
        return cls(
            task,
            parameters,
            JsonType(task, "the parameters", _body(parameters, hints)),
            extra,
            JsonType(task, "the return type", returns),
        )

    def encode(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
        """Validate arguments and return the JSON body that carries them.

        Only what was given is sent: defaults are the worker's. Raises :class:`InvalidArguments`, also for values that
        would arrive as something else.
        """
        known, extra = self.parameters.by_names(self.task, args, kwargs)
        try:
            body = self._known.write(known)
            if extra and self._extra is not None:
                more = self._extra.write(extra)
                body = more if body == b"{}" else body[:-1] + b"," + more[1:]
        except Misfit as misfit:
            raise InvalidArguments(self.task, misfit.problems) from misfit.__cause__
        return body

    def encode_foreign(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
        """Return the JSON of the only argument, as plain AMQP programs expect it. Raises like :meth:`encode`."""
        (name,) = self.parameters.by_name
        before = to_json({name: None}).removesuffix(b"null}")
        body = self.encode(args, kwargs)
        if not body.startswith(before):
            raise InvalidArguments(self.task, [(name, "is the whole message to a plain AMQP program; give it")])
        return body.removeprefix(before)[:-1]

    def decode(self, body: bytes) -> Arguments:
        """Return the arguments that a JSON body carries, in their declared types.

        Raises :class:`InvalidArguments`, or :class:`UndecodableMessage` when the body is no JSON object.
        """
        try:
            if self._extra is None:
                return self.parameters.to_call(self._known.read(body), {})
            known, extra = _split(body, self.parameters.by_name)
            return self.parameters.to_call(self._known.read(known), self._extra.read(extra))
        except Misfit as misfit:
            if misfit.unreadable or not body.lstrip().startswith(b"{"):
                listed = "; ".join(text for _, text in misfit.problems)
                raise UndecodableMessage(f"the body is no JSON object: {listed}") from misfit.__cause__
            raise InvalidArguments(self.task, misfit.problems) from misfit.__cause__

    def decode_foreign(self, body: bytes) -> Arguments:
        """Return the arguments that a plain AMQP program sent: a JSON object by name, else the only argument.

        A body that is no JSON, or whose JSON value does not fit, is taken as text (as bytes, where it is no UTF-8).
        Raises like :meth:`decode`.
        """
        names = tuple(self.parameters.by_name)
        is_json = True
        try:
            if isinstance(from_json(body), dict):
                return self.decode(body)
        except ValueError:
            is_json = False
        if not names and not body.strip():
            return self.decode(b"{}")
        if len(names) != 1:
            raise UndecodableMessage(
                f"the body is no JSON object, and {self.task} has {len(names)} parameters, not exactly one"
            )
        return self._only_argument(names[0], body, is_json=is_json)

    def encode_result(self, value: object) -> bytes:
        """Return the JSON of a result.

        Raises :class:`InvalidArguments` when it does not fit the return type or would arrive as something else.
        """
        try:
            return self._result.write(value)
        except Misfit as misfit:
            problems = [(f"result.{place}" if place else "result", text) for place, text in misfit.problems]
            raise InvalidArguments(self.task, problems) from misfit.__cause__

    def decode_result(self, body: bytes) -> Any:
        """Return a result in its declared type. Raises :class:`UndecodableMessage` when it does not fit."""
        try:
            return self._result.read(body)
        except Misfit as misfit:
            listed = "; ".join(f"{place}: {text}" if place else text for place, text in misfit.problems)
            raise UndecodableMessage(
                f"{self.task}: the result does not fit the return type: {listed}"
            ) from misfit.__cause__

    def decode_foreign_result(self, body: bytes) -> Any:
        """Return a result that a plain AMQP program sent: JSON, else text; nothing at all may be ``None``, too.

        Raises :class:`UndecodableMessage`.
        """
        try:
            return self.decode_result(body)
        except UndecodableMessage as error:
            for value in (_text(body), None) if not body else (_text(body),):
                with suppress(Misfit):
                    return self._result.convert(value)
            raise error from None

    def _only_argument(self, name: str, body: bytes, *, is_json: bool) -> Arguments:
        many = name == self.parameters.variadic
        as_json: Misfit | None = None
        if is_json:
            try:
                key = to_json({name: None}).removesuffix(b"null}")
                value = b"[" + body + b"]" if many else body
                return self.parameters.to_call(self._known.read(key + value + b"}"), {})
            except Misfit as misfit:
                as_json = misfit
        text = _text(body)
        try:
            return self.parameters.to_call(self._known.convert({name: [text] if many else text}), {})
        except Misfit as misfit:
            raise InvalidArguments(self.task, (as_json or misfit).problems) from misfit.__cause__


_DICT: Any = dict  # subscripted with types that are known at run time only


def _body(parameters: Parameters, hints: Mapping[str, Any]) -> Any:
    """Return the type of a body: a dict with a key for each parameter."""
    required, optional, several = (cast("Any", form) for form in (Required, NotRequired, list))
    fields: dict[str, Any] = {}
    for name, parameter in parameters.by_name.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            fields[name] = optional[several[hints[name]]]
        else:
            fields[name] = (required if parameter.default is parameter.empty else optional)[hints[name]]
    return cast("Any", TypedDict)("Body", fields)


def _split(body: bytes, names: Mapping[str, object]) -> tuple[bytes, bytes]:
    """Divide a JSON object into the keys in ``names`` and the others. Raises :class:`Misfit`."""
    try:
        whole: object = from_json(body)
    except ValueError as error:
        raise Misfit([("", str(error))], unreadable=True) from None
    if not isinstance(whole, dict):
        raise Misfit([("", "is no object")], unreadable=True)
    parts: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for key, value in cast("dict[str, Any]", whole).items():
        parts[key not in names][key] = value
    return to_json(parts[0], inf_nan_mode="constants"), to_json(parts[1], inf_nan_mode="constants")


def _text(body: bytes) -> str | bytes:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body
