"""The payload of an exchange's events: from a value to a JSON body and back."""

from __future__ import annotations

from typing import Any

from taskq.errors import DeclarationError, InvalidArguments, UndecodableMessage
from taskq.tasks.annotations import refuse_untravelling
from taskq.tasks.jsontype import JsonType, Misfit


class Payload:
    """The declared type of an exchange's events. Built once, at declaration.

    Raises :class:`DeclarationError` for a type that cannot travel as JSON.
    """

    __slots__ = ("_exchange", "_type")

    def __init__(self, exchange: str, annotation: Any) -> None:
        self._exchange = f"exchange {exchange}"
        try:
            refuse_untravelling(exchange, "the payload", annotation)
            self._type = JsonType(exchange, "the payload", annotation)
        except DeclarationError as error:
            raise DeclarationError(str(error).replace("task ", "exchange ", 1)) from error.__cause__

    def write(self, value: object) -> bytes:
        """Return the JSON of a value. Raises :class:`InvalidArguments`, also for what would arrive as another."""
        try:
            return self._type.write(value)
        except Misfit as misfit:
            raise InvalidArguments(self._exchange, _placed(misfit)) from misfit.__cause__

    def read(self, body: bytes, *, foreign: bool) -> Any:
        """Return the value that a body carries.

        One that a plain AMQP program sent (``foreign``), and that is no JSON or whose JSON value does not fit, is taken
        as text (as bytes, where it is no UTF-8). Raises :class:`InvalidArguments`, :class:`UndecodableMessage`.
        """
        try:
            return self._type.read(body)
        except Misfit as misfit:
            if foreign:
                return self._read_text(body, misfit)
            raise self._error(misfit) from misfit.__cause__

    def _read_text(self, body: bytes, as_json: Misfit) -> Any:
        try:
            text: str | bytes = body.decode()
        except UnicodeDecodeError:
            text = body
        try:
            return self._type.convert(text)
        except Misfit as misfit:
            raise self._error(misfit if as_json.unreadable else as_json) from misfit.__cause__

    def _error(self, misfit: Misfit) -> InvalidArguments | UndecodableMessage:
        if misfit.unreadable:
            return UndecodableMessage("the body is no JSON: " + "; ".join(text for _, text in misfit.problems))
        return InvalidArguments(self._exchange, _placed(misfit))


def _placed(misfit: Misfit) -> list[tuple[str, str]]:
    return [(f"payload.{place}" if place else "payload", text) for place, text in misfit.problems]
