"""What exists only while an app is open, and the choice of the broker by URL."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

from taskq.broker.protocol import Broker
from taskq.client.replies import ReplyInbox
from taskq.client.sender import JobSender, Limits
from taskq.clock import Clock, SystemClock
from taskq.errors import UsageError
from taskq.events.publisher import EventPublisher
from taskq.lifecycle import Emitter
from taskq.settings import Settings
from taskq.tasks.registry import Registry


@dataclass(frozen=True, slots=True)
class Backend:
    """The clock of an app, and the broker that its URL names. The testing kit brings another one."""

    clock: Clock = field(default_factory=SystemClock)

    def is_default(self, settings: Settings) -> bool:
        """Say whether nobody chose the broker."""
        return settings.by_default

    def connect(self, settings: Settings, app: str, emitter: Emitter) -> Broker:
        """Return the broker of ``settings.url``, not yet entered. Raises :class:`UsageError` for an unknown kind."""
        # ruff: noqa: PLC0415  # a program has one broker, and should not wait for the import of the other
        scheme = _scheme(settings.url)
        match scheme:
            case "sqlite" | "memory":
                from taskq.broker.sqlite.broker import SqliteBroker

                return SqliteBroker(settings.url, clock=self.clock, emit=emitter.emit)
            case "amqp" | "amqps":
                from taskq.broker.amqp.broker import AmqpBroker

                return AmqpBroker(
                    settings.url,
                    clock=self.clock,
                    app_name=app,
                    emit=emitter.emit,
                    connect_timeout_s=settings.connect_timeout,
                    heartbeat_s=settings.heartbeat,
                    ack_timeout_s=settings.ack_timeout,
                    management_url=settings.management_url,
                )
            case _:
                known = "sqlite:///taskq.db, memory:// or amqp://host"
                kind = f"of the kind {scheme!r}" if scheme else "that does not begin with a kind and ://"
                raise UsageError(f"no broker for a URL {kind}; use {known}")


def _scheme(url: str) -> str:
    """Return what stands before the ``://``; nothing where that is no kind of URL, and may be a piece of a password."""
    scheme, divider, _ = url.partition("://")
    return scheme.lower() if divider and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What exists only while an app is open."""

    settings: Settings
    registry: Registry
    broker: Broker
    clock: Clock
    replies: ReplyInbox
    sender: JobSender
    events: EventPublisher

    @classmethod
    def over(
        cls, broker: Broker, *, app: str, registry: Registry, settings: Settings, clock: Clock, emitter: Emitter
    ) -> Self:
        """Put the client's side together over a broker that was entered."""
        replies = ReplyInbox(broker, emitter)
        sender = JobSender(
            app=app,
            broker=broker,
            clock=clock,
            registry=registry,
            replies=replies,
            emitter=emitter,
            limits=Limits(
                publish_timeout_s=settings.publish_timeout,
                reply_timeout_s=settings.reply_timeout,
                max_message_bytes=settings.max_message_bytes,
            ),
        )
        events = EventPublisher(
            app=app,
            broker=broker,
            clock=clock,
            emitter=emitter,
            publish_timeout_s=settings.publish_timeout,
            max_message_bytes=settings.max_message_bytes,
        )
        return cls(
            settings=settings,
            registry=registry,
            broker=broker,
            clock=clock,
            replies=replies,
            sender=sender,
            events=events,
        )
