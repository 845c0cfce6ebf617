"""A broker that keeps what is published in a list, for tests of the client's side alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from taskq.broker.protocol import Consumer, Delivery, Inspector, Outgoing
from taskq.client.replies import ReplyInbox
from taskq.client.sender import JobSender, Limits
from taskq.clock import SystemClock
from taskq.lifecycle import Emitter
from taskq.tasks.queues import Queue
from taskq.tasks.registry import Registry
from taskq.tasks.router import Router
from taskq.wire.message import Message
from taskq.wire.reply import Reply, new_reply

Answer = Callable[[Message], Reply | None]


@dataclass
class FakeInbox:
    """A reply queue that is fed by hand."""

    receive: Callable[[Message], None]
    address: str = "taskq.reply.fake"


class FakeBroker:
    """It confirms at once, or when ``gate`` is set. ``answer`` makes the reply to a job; ``trouble`` an error."""

    label = "fake://"

    def __init__(self, answer: Answer = lambda _: None) -> None:
        self.answer = answer
        self.trouble: Callable[[Outgoing], Exception | None] = lambda _: None
        self.gate = asyncio.Event()
        self.gate.set()
        self.keep = True
        self.published: list[Outgoing] = []
        self.inboxes: list[FakeInbox] = []
        self.waiting = self.most_waiting = 0

    def publish(self, outgoing: Outgoing, *, timeout_s: float) -> asyncio.Future[None]:
        if self.keep:
            self.published.append(outgoing)
        return asyncio.ensure_future(self._confirmed(outgoing))

    async def open_inbox(self, receive: Callable[[Message], None]) -> FakeInbox:
        await asyncio.sleep(0)
        self.inboxes.append(FakeInbox(receive))
        return self.inboxes[-1]

    def reply(self, to: Message, reply: Reply) -> None:
        """Bring a reply to a job's message."""
        self.inboxes[0].receive(new_reply(reply, to.correlation_id))

    async def _confirmed(self, outgoing: Outgoing) -> None:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        if (error := self.trouble(outgoing)) is not None:
            raise error
        if outgoing.message.reply_to and (reply := self.answer(outgoing.message)) is not None:
            self.reply(outgoing.message, reply)

    # What the client's side never does.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def declare(self, queues: Iterable[Queue], **further: Any) -> None:
        raise NotImplementedError

    async def consume(self, queue: str, *, prefetch: int, deliver: Callable[[Delivery], None]) -> Consumer:
        raise NotImplementedError

    @property
    def inspector(self) -> Inspector:
        raise NotImplementedError


class Client:
    """The client's side of an app over a fake broker, with the tasks of ``router`` bound to it."""

    def __init__(self, router: Router[Any], broker: FakeBroker, **limits: float) -> None:
        registry = Registry()
        registry.include(router)
        self.broker = broker
        self.emitter = Emitter()
        self.replies = ReplyInbox(broker, self.emitter)
        self.sender = JobSender(
            app="test",
            broker=broker,
            clock=SystemClock(),
            registry=registry,
            replies=self.replies,
            emitter=self.emitter,
            limits=Limits(
                publish_timeout_s=limits.get("publish_timeout_s", 15.0),
                reply_timeout_s=limits.get("reply_timeout_s", 60.0),
                max_message_bytes=int(limits.get("max_message_bytes", 100_000)),
            ),
        )
        for task in router.tasks:
            task.route.sender = self.sender
