"""A dead letter for people and for programs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from taskq.observability.safetext import one_line, printable
from taskq.wire.dead import DeadLetter
from taskq.wire.message import PROPERTIES, Message

_RECORD = ("taskq-error-type", "taskq-error-message", "taskq-error-traceback")


def cells(letter: DeadLetter) -> list[str]:
    """Return a dead letter as a row: job, task, reason, error, attempts, died at (local time)."""
    return [
        letter.job_id,
        letter.task or "",
        letter.reason,
        letter.failure.short.strip(": "),
        str(letter.attempt),
        _local(letter.died_at),
    ]


def as_json(letter: DeadLetter, *, whole: bool = False) -> dict[str, Any]:
    """Return a dead letter as JSON; ``whole`` adds body, properties, headers and traceback. Times are ISO 8601, UTC."""
    brief = {
        "job_id": letter.job_id,
        "task": letter.task,
        "queue": letter.queue,
        "reason": letter.reason,
        "error": letter.failure.short.strip(": "),
        "attempts": letter.attempt,
        "executions": letter.execution,
        "enqueued_at": _utc(letter.enqueued_at),
        "died_at": _utc(letter.died_at),
    }
    if not whole:
        return brief
    message = letter.message
    return brief | {
        "error_type": letter.failure.type,
        "error_message": letter.failure.message,
        "traceback": letter.failure.traceback,
        "properties": _properties(message),
        "headers": {k: v for k, v in message.headers.items() if k not in _RECORD},
        **_body(message),
    }


def show_letter(letter: DeadLetter) -> None:
    """Print everything about a dead letter. Nothing in it steers the terminal, or looks like another line of this."""
    _line("job", letter.job_id)
    _line("task", letter.task or "(the message names none)")
    _line("queue", letter.queue)
    _line("reason", letter.reason)
    _line("error", letter.failure.short.strip(": "))
    _line("attempts", f"{letter.attempt} ({letter.execution} executions)")
    _line("enqueued", _local(letter.enqueued_at))
    _line("died", _local(letter.died_at))
    _block("body", _body_text(letter.message))
    _block("properties", _listed(_properties(letter.message)))
    _block("headers", _listed({k: v for k, v in sorted(letter.message.headers.items()) if k not in _RECORD}))
    _block("traceback", letter.failure.traceback.rstrip())


def _line(name: str, text: str) -> None:
    print(f"{name:<10} {one_line(text)}")


def _block(name: str, text: str) -> None:
    if text:
        print(f"{name}\n    {printable(text)}")


def _listed(values: Mapping[str, object]) -> str:
    return "\n".join(one_line(f"{name}: {value}") for name, value in values.items())


def _properties(message: Message) -> dict[str, Any]:
    return {name: value for name in PROPERTIES if (value := getattr(message, name)) is not None}


def _body(message: Message) -> dict[str, Any]:
    """Return the body as JSON where it is, else as text, else in base64, under a key that says which."""
    try:
        value = json.loads(message.body)
        # It takes less than `loads` does: no NaN, fewer levels; and a few more are around it where it is shown.
        json.dumps([[[[[[[[value]]]]]]]], indent=2, allow_nan=False)
        return {"body": value}
    except (ValueError, RecursionError):
        pass
    try:
        return {"body_text": message.body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(message.body).decode()}


def _body_text(message: Message) -> str:
    found = _body(message)
    text = json.dumps(found["body"], ensure_ascii=False, indent=2) if "body" in found else next(iter(found.values()))
    return text or "(empty)"


def _utc(instant: float | None) -> str | None:
    return None if instant is None else datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds")


def _local(instant: float | None) -> str:
    try:
        return "" if instant is None else datetime.fromtimestamp(instant).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # the last hours of the year 9999, east of Greenwich
        return ""
