"""An event's payload on the command line: the JSON that the wire would carry."""

from __future__ import annotations

from typing import Any

from taskq.cli.complaint import Complaint
from taskq.errors import UndecodableMessage
from taskq.tasks.exchange import Exchange


def read_payload(exchange: Exchange[Any], text: str) -> Any:
    """Return the payload that ``text`` carries, in the declared type.

    Raises :class:`Complaint` for what is no JSON, and :class:`InvalidArguments` where it does not fit.
    """
    try:
        return exchange.payload.read(text.encode(errors="surrogateescape"), foreign=False)
    except UndecodableMessage:
        hint = f"; a text is written '\"{text}\"'" if text.isprintable() and '"' not in text else ""
        raise Complaint(f"the payload is no JSON: {text[:40]!r}{hint}") from None
