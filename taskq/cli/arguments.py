"""A job's arguments from the command line: the JSON object that the wire would carry."""

from __future__ import annotations

import json

from taskq.cli.complaint import Complaint
from taskq.errors import UndecodableMessage
from taskq.tasks.arguments import Arguments as JobArguments
from taskq.tasks.task import AnyTask

__all__ = ["JobArguments", "read_arguments"]

_AROUND = 12  # characters shown before the place of a mistake


def read_arguments(task: AnyTask, text: str = "{}") -> JobArguments:
    """Return the arguments that ``text`` carries, in the declared types, ready for a call.

    Raises :class:`Complaint` that shows where the JSON is wrong, and :class:`InvalidArguments` where it does not fit.
    """
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise Complaint(_where(text, error)) from None
    except RecursionError:
        raise Complaint("the arguments are nested too deeply") from None
    except ValueError as error:  # Python's limit for the digits of a number
        raise Complaint(f"the arguments cannot be read: {error}") from None
    if not isinstance(value, dict):
        parameters = ", ".join(f'"{name}": …' for name in task.definition.signature.parameters.by_name)
        raise Complaint(
            f"the arguments are {text.strip()[:40]}, no JSON object; write them by name: '{{{parameters}}}'"
        )
    try:
        return task.definition.signature.decode(text.encode(errors="surrogateescape"))
    except (
        UndecodableMessage
    ) as error:  # what Python's reader takes and the wire does not: bytes that are no UTF-8, say
        raise Complaint(str(error)) from None


def _where(text: str, error: json.JSONDecodeError) -> str:
    if not text.strip():
        return "the arguments are empty, no JSON object; leave them out, or write '{}'"
    if error.pos >= len(text.rstrip()):
        place = f"at its end, after {text.rstrip()[-_AROUND:]}"
    else:
        before = text[max(0, error.pos - _AROUND) : error.pos]
        place = f"at character {error.pos + 1}, here: {before}⟨{text[error.pos]}⟩{text[error.pos + 1 : error.pos + 13]}"
    hint = " (a shell needs quotes around it: '{\"name\": 1}')" if '"' not in text else ""
    return f"the arguments are no JSON: {error.msg} {place}{hint}"
