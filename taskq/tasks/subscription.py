"""A subscription: a function that runs for each event of an exchange that its bindings let through. Pure data.

With a queue it is durable and shared: the queue keeps events while nobody works, each event is run by one worker, and
it has all that a job has (retries, delays, dead letters). Without one it is temporary: every worker process gets a copy
of each event while it runs, and one that fails is dropped and told.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, overload

from taskq.errors import DeclarationError
from taskq.tasks.definition import Handler, check_function, check_task_name
from taskq.tasks.event import Event
from taskq.tasks.exchanges import (
    Binding,
    ExchangeDefinition,
    Match,
    Overflow,
    TemporaryQueue,
    check_bindings,
    check_limit,
)
from taskq.tasks.options import HeaderValue
from taskq.tasks.payload import Payload
from taskq.tasks.queues import check_concurrency, check_queue_name
from taskq.tasks.retry import RetryPolicy, check_retry

T = TypeVar("T")
R = TypeVar("R")

DEFAULT_LIMIT = 1_000
_WITH_EVENT = 2  # parameters: the payload, then the event


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Subscription(Handler):
    """A declared subscription. ``queue`` is ``None`` for a temporary one.

    ``selections`` are its bindings, still without a queue. ``concurrency``: how many events one worker runs at a time;
    ``None`` takes the worker's setting. ``limit`` and ``overflow`` are of the temporary queue.
    """

    exchange: ExchangeDefinition
    payload: Payload
    takes_event: bool
    selections: tuple[Binding, ...]
    queue: str | None
    concurrency: int | None
    limit: int
    overflow: Overflow

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """The bindings of its durable queue; none for a temporary one."""
        return () if self.queue is None else _bound(self.selections, self.queue)

    @property
    def selects(self) -> str:
        """What it gets, for people: its keys, or its header values; nothing where it gets everything."""
        keys = " ".join(each.key for each in self.selections if each.key)
        headers = (f"{name}={value}" for each in self.selections for name, value in each.headers.items())
        return keys or f" {'and' if self.selections[0].match == 'all' else 'or'} ".join(headers)

    def temporary_queue(self, name: str) -> TemporaryQueue:
        """Return the temporary queue of one process."""
        return TemporaryQueue(
            name=name,
            label=self.name,
            bindings=_bound(self.selections, name),
            limit=self.limit,
            overflow=self.overflow,
        )


def subscription(
    function: Callable[..., Any],
    *,
    name: str,
    exchange: ExchangeDefinition,
    payload: Payload,
    selections: tuple[Binding, ...],
    queue: str | None,
    concurrency: int | None,
    timeout_s: float | None,
    retry: RetryPolicy | None,
    limit: int | None,
    overflow: Overflow | None,
) -> Subscription:
    """Check a declaration and return it as a value. Raises :class:`DeclarationError` with what to change."""
    check_function("subscription", name, function)
    check_task_name(name)
    check_retry(f"subscription {name!r}", retry)
    check_concurrency(f"subscription {name!r}", concurrency)
    check_bindings(exchange.kind, exchange.name, selections)
    if queue is None:
        if retry is not None:
            raise DeclarationError(
                f"subscription {name!r} is temporary and is not tried again; give it a queue, or leave retry out"
            )
    else:
        check_queue_name(queue)
        if limit is not None or overflow is not None:
            raise DeclarationError(
                f"subscription {name!r}: limit and overflow bound a temporary queue; {queue!r} keeps every event"
            )
    bound, policy = DEFAULT_LIMIT if limit is None else limit, overflow or "drop-head"
    check_limit(bound, policy)
    return Subscription(
        name=name,
        function=function,
        context=False,
        run="async" if inspect.iscoroutinefunction(function) else "thread",
        timeout_s=timeout_s,
        retry=retry,
        exchange=exchange,
        payload=payload,
        takes_event=_takes_event(name, function),
        selections=selections,
        queue=queue,
        concurrency=concurrency,
        limit=bound,
        overflow=policy,
    )


class SubscriptionDecorator(Protocol[T]):
    """``@exchange.subscribe(...)``: takes a function of the payload, or of the payload and its event; returns it."""

    @overload
    def __call__(self, function: Callable[[T], R], /) -> Callable[[T], R]: ...
    @overload
    def __call__(self, function: Callable[[T, Event[T]], R], /) -> Callable[[T, Event[T]], R]: ...


def selected(
    exchange: str, keys: tuple[str, ...], headers: Mapping[str, HeaderValue] | None, match: Match, *, queue: str = ""
) -> tuple[Binding, ...]:
    """Return the bindings that a caller asks for: one for each key, and one without any.

    Raises :class:`DeclarationError` for a key that is no text; the rest is not yet checked.
    """
    for key in keys:
        _check_key(exchange, key)
    wanted = dict.fromkeys(keys) if keys else {"": None}
    return tuple(
        Binding(exchange=exchange, queue=queue, key=key, headers=dict(headers or {}), match=match) for key in wanted
    )


def _check_key(exchange: str, key: object) -> None:
    if not isinstance(key, str):
        how = "; write @….subscribe() above it, with the parentheses" if callable(key) else ""
        raise DeclarationError(f"exchange {exchange!r}: {key!r} is no routing key{how}")


def _bound(selections: tuple[Binding, ...], queue: str) -> tuple[Binding, ...]:
    return tuple(replace(each, queue=queue) for each in selections)


def _takes_event(name: str, function: Callable[..., Any]) -> bool:
    parameters = list(inspect.signature(function).parameters.values())
    needed = [each for each in parameters if each.default is each.empty and each.kind is not each.VAR_POSITIONAL]
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    if not positional or len(needed) > _WITH_EVENT or any(each.kind is each.KEYWORD_ONLY for each in needed):
        raise DeclarationError(
            f"subscription {name!r}: its function takes the payload, and if it wants it the Event: "
            "def f(payload) or def f(payload, event)"
        )
    return len(needed) == _WITH_EVENT
