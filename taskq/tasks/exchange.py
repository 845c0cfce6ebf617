"""An exchange: one message to many. Programs publish to it, subscribe to it, and listen to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Protocol, TypeVar, cast

from taskq.errors import UsageError
from taskq.tasks.duration import Duration, seconds
from taskq.tasks.event import Event
from taskq.tasks.exchanges import (
    ExchangeDefinition,
    ExchangeKind,
    Match,
    Overflow,
    TemporaryQueue,
    check_bindings,
    check_key,
    check_limit,
)
from taskq.tasks.options import CallOptions, HeaderValue
from taskq.tasks.payload import Payload
from taskq.tasks.retry import RetryPolicy
from taskq.tasks.subscription import DEFAULT_LIMIT, Subscription, SubscriptionDecorator, selected, subscription

T = TypeVar("T")
Headers = Mapping[str, HeaderValue]


class EventSender(Protocol):
    """How an exchange reaches the broker. An open app implements it."""

    async def publish(self, exchange: str, body: bytes, *, key: str, headers: Headers | None, mandatory: bool) -> str:
        """Publish a body, and return the event's id when the broker has confirmed it."""
        ...

    def listen(
        self, queue: Callable[[str], TemporaryQueue], payload: Payload
    ) -> AbstractAsyncContextManager[AsyncIterator[Event[Any]]]:
        """Open a stream of the events of a temporary queue, which ``queue`` makes for a name."""
        ...


class EventRoute:
    """The way from an exchange to the open app; empty while no app is open."""

    __slots__ = ("owner", "sender")

    def __init__(self) -> None:
        self.sender: EventSender | None = None
        self.owner: str | None = None


class Exchange(Generic[T]):
    """A declared exchange whose events carry a ``T``. Made by ``router.exchange(…)`` or ``app.exchange(…)``."""

    def __init__(
        self, definition: ExchangeDefinition, payload: Payload, prefix: str, add: Callable[[Subscription], None]
    ) -> None:
        self.definition = definition
        self.payload = payload
        self.route = EventRoute()
        self._prefix = prefix
        self._add = add

    @property
    def name(self) -> str:
        """Its name on the broker."""
        return self.definition.name

    @property
    def kind(self) -> ExchangeKind:
        """fanout, direct, topic or headers, as in AMQP."""
        return self.definition.kind

    async def publish(
        self, payload: T, /, *, key: str = "", headers: Headers | None = None, mandatory: bool = False
    ) -> str:
        """Publish an event, and return its id when the broker has stored it for everybody who subscribes to it.

        ``key``: the routing key. ``headers``: your own, which a headers exchange routes by. Nobody who subscribes is no
        error, unless it is ``mandatory``: then :class:`Unroutable`. At least once, as :meth:`Task.enqueue`. Raises
        :class:`InvalidArguments` and :class:`UsageError` before anything is sent, else a :class:`BrokerError` within
        the publish deadline.
        """
        check_key(key)
        body = self.payload.write(payload)
        if headers is not None:
            headers = CallOptions(headers=headers).headers
        return await self._sender().publish(self.name, body, key=key, headers=headers, mandatory=mandatory)

    def subscribe(
        self,
        *keys: str,
        queue: str | None = None,
        headers: Headers | None = None,
        match: Match = "all",
        name: str | None = None,
        concurrency: int | None = None,
        timeout: Duration | None = None,
        retry: RetryPolicy | None = None,
        limit: int | None = None,
        overflow: Overflow | None = None,
    ) -> SubscriptionDecorator[T]:
        """Declare that a function runs for each event that one of ``keys`` lets through, once for each event.

        ``keys``: routing keys of a direct exchange, patterns of a topic exchange, none for fanout. ``headers`` and
        ``match``: for a headers exchange, ``all`` or ``any`` of these values. ``queue``: the durable queue that the
        group of all workers shares; its ``retry``, ``concurrency`` and ``timeout`` are as a task's. Without it every
        worker process has a temporary queue of its own, bounded by ``limit`` (1,000) events that wait, at which
        ``overflow`` is ``"drop-head"`` (the oldest goes) or ``"reject-publish"`` (publishing fails). ``name``: the
        function's unless given. Raises :class:`DeclarationError`.
        """
        selections = selected(self.name, keys, headers, match)
        timeout_s = None if timeout is None else seconds(timeout, "timeout", zero=False)

        def declare(function: Callable[..., Any], /) -> Callable[..., Any]:
            self._add(
                subscription(
                    function,
                    name=self._prefix + (str(getattr(function, "__name__", "")) if name is None else name),
                    exchange=self.definition,
                    payload=self.payload,
                    selections=selections,
                    queue=queue,
                    concurrency=concurrency,
                    timeout_s=timeout_s,
                    retry=retry,
                    limit=limit,
                    overflow=overflow,
                )
            )
            return function

        return cast("SubscriptionDecorator[T]", declare)

    def listen(
        self,
        *keys: str,
        headers: Headers | None = None,
        match: Match = "all",
        limit: int = DEFAULT_LIMIT,
        overflow: Overflow = "drop-head",
    ) -> AbstractAsyncContextManager[AsyncIterator[Event[T]]]:
        """Open a stream of events from now on: ``async with exchange.listen("kern.*") as events``.

        Arguments as of :meth:`subscribe`. The stream ends when the app is closed. An event that is not in the payload's
        type is left out and told (:class:`taskq.lifecycle.EventUnreadable`). Raises :class:`UsageError`, and a
        :class:`BrokerError` when it cannot be opened.
        """
        selections = selected(self.name, keys, headers, match)
        check_bindings(self.kind, self.name, selections)
        check_limit(limit, overflow)

        def queue(name: str) -> TemporaryQueue:
            bound = selected(self.name, keys, headers, match, queue=name)
            return TemporaryQueue(
                name=name, label=f"a listener of {self.name}", bindings=bound, limit=limit, overflow=overflow
            )

        return self._sender().listen(queue, self.payload)

    def __repr__(self) -> str:
        return f"<{self.kind} exchange {self.name}>"

    def _sender(self) -> EventSender:
        if self.route.sender is None:
            raise UsageError(
                f"exchange {self.name!r} is in no open app; enter `async with app:` first, and "
                "`app.include(router)` when a router declares it"
            )
        return self.route.sender
