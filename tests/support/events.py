"""An app with an exchange, for tests of events: what it publishes, and what comes past its subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from taskq import Exchange, TaskQ
from taskq.broker.protocol import Outgoing
from taskq.lifecycle import Event as Happened
from taskq.testing import Harness
from taskq.wire.message import Message

H = TypeVar("H", bound=Happened)


class Line(BaseModel):
    host: str
    level: int = 0


DB1 = Line(host="db1")


def ops(**options: Any) -> tuple[TaskQ[Any], Exchange[Line]]:
    """Return an app, and its topic exchange ``logs``."""
    app: TaskQ[Any] = TaskQ("ops", **options)
    return app, app.exchange("logs", kind="topic", payload=Line)


def all_of(h: Harness[Any], kind: type[H]) -> list[H]:
    """Return the lifecycle events of one kind so far."""
    return [event for event in h.events if isinstance(event, kind)]


async def publish_raw(
    app: TaskQ[Any], body: bytes, headers: Mapping[str, object] | None = None, *, message_id: str = "theirs"
) -> None:
    """Publish to ``logs`` with the key ``kern.info``, as a program without taskq does."""
    message = Message(body=body, message_id=message_id, headers=headers or {})
    outgoing = Outgoing(message, "kern.info", mandatory=False, exchange="logs")
    await app.connection.broker.publish(outgoing, timeout_s=5)
