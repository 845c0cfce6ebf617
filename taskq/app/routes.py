"""The ways from tasks and exchanges to the app that has them: one open app at a time."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from taskq.app.connection import Connection
from taskq.errors import UsageError
from taskq.tasks.exchange import Exchange
from taskq.tasks.registry import Registry
from taskq.tasks.task import AnyTask


def take_over(registry: Registry, app: str, stack: AsyncExitStack) -> None:
    """Make tasks and exchanges those of ``app``, until ``stack`` ends.

    Raises :class:`UsageError` when another open app has one of them.
    """
    for task in registry.tasks.values():
        _check_free(f"task {task.name!r}", task.route.owner)
    for exchange in registry.exchanges.values():
        _check_free(f"exchange {exchange.name!r}", exchange.route.owner)
    declared: list[AnyTask | Exchange[Any]] = [*registry.tasks.values(), *registry.exchanges.values()]
    for each in declared:
        each.route.owner = app
        stack.callback(_release, each)


def lead(registry: Registry, connection: Connection) -> None:
    """Let the verbs of tasks and exchanges reach the broker."""
    for task in registry.tasks.values():
        task.route.sender = connection.sender
    for exchange in registry.exchanges.values():
        exchange.route.sender = connection.events


def _check_free(what: str, owner: str | None) -> None:
    if owner is not None:
        raise UsageError(
            f"{what} is in another open app already ({owner!r}); a router belongs to one open app at a time"
        )


def _release(declared: AnyTask | Exchange[Any]) -> None:
    declared.route.sender = None
    declared.route.owner = None
