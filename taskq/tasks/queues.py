"""A work queue as a program declares it: name, concurrency and what the broker should know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from taskq.errors import DeclarationError
from taskq.tasks.exchanges import ArgumentValue

if TYPE_CHECKING:
    from taskq.tasks.task import AnyTask

DEFAULT_QUEUE = "default"
DEAD_SUFFIX = ".dead"
_LONGEST_NAME = 180  # bytes; an AMQP name has 255, and the delay ladder puts its levels in front
_MAX_PRIORITIES = 255
_MOST_SLOTS = 65_535  # AMQP counts a prefetch in 16 bits
_MOST_DELIVERIES = 10_000


@dataclass(frozen=True, slots=True)
class Queue:
    """A work queue.

    ``concurrency``: how many jobs of it one worker runs at a time, which is also its prefetch; ``None`` takes
    the worker's setting (1 unless said otherwise). ``max_priority``: 0 (none) to 255; the higher number goes
    first. ``delivery_limit``: how often a job may come back because its worker died, before it becomes a dead
    letter. ``type`` is RabbitMQ's queue type; the embedded broker ignores it. ``default``: the task (or its
    name) that runs messages which name none, as plain AMQP programs send them. ``declare=False``: the queue
    belongs to somebody else; taskq uses it and never declares it.

    For queues that other programs declare too, on RabbitMQ: ``durable=False`` (a classic queue that is gone when the
    broker starts again), and ``arguments``: exactly these, instead of those that taskq would give (``{}`` for none, as
    plain programs declare). The embedded broker ignores both.
    """

    name: str
    concurrency: int | None = None
    max_priority: int = 0
    delivery_limit: int = 20
    default: AnyTask | str | None = None
    declare: bool = True
    type: Literal["quorum", "classic"] = "quorum"
    durable: bool = True
    arguments: Mapping[str, ArgumentValue] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        check_queue_name(self.name)
        whose = f"queue {self.name!r}"
        check_concurrency(whose, self.concurrency)
        _check_range(whose, "max_priority", self.max_priority, 0, _MAX_PRIORITIES)
        _check_range(whose, "delivery_limit", self.delivery_limit, 1, _MOST_DELIVERIES)
        if self.type not in ("quorum", "classic"):
            raise DeclarationError(f"queue {self.name!r}: type must be 'quorum' or 'classic', not {self.type!r}")
        if self.max_priority and self.type != "classic":
            raise DeclarationError(
                f"queue {self.name!r}: priorities need type='classic' (a quorum queue of RabbitMQ has none)"
            )
        if not self.durable and self.type != "classic":
            raise DeclarationError(f"queue {self.name!r}: durable=False needs type='classic'")
        if self.default is not None and not isinstance(self.default_task, str):
            raise DeclarationError(f"queue {self.name!r}: default={self.default!r}; give a task or its full name")

    @property
    def dead(self) -> str:
        """The name of the queue that keeps this queue's dead letters."""
        return self.name + DEAD_SUFFIX

    @property
    def default_task(self) -> str | None:
        """The name of the task that runs messages which name none."""
        return self.default if isinstance(self.default, str) else getattr(self.default, "name", None)


def check_concurrency(whose: str, concurrency: object) -> None:
    """Raise :class:`DeclarationError` when a worker cannot have so many slots. ``whose`` is for people."""
    if concurrency is not None:
        _check_range(whose, "concurrency", concurrency, 1, _MOST_SLOTS)


def check_queue_name(name: str) -> None:
    """Raise :class:`DeclarationError` when ``name`` cannot be a queue on every broker."""
    if not isinstance(name, str) or not name or not name.isprintable() or set("#*") & set(name):
        raise DeclarationError(f"queue name {name!r}: use printable characters, at least one, without '#' and '*'")
    if len(name.encode()) > _LONGEST_NAME:
        raise DeclarationError(f"queue name {name[:40]!r}…: {len(name.encode())} bytes, at most {_LONGEST_NAME}")
    if name.endswith(DEAD_SUFFIX) or name.startswith(("taskq.", "amq.")):
        raise DeclarationError(
            f"queue name {name!r}: names ending in '.dead' or starting with 'taskq.', 'amq.' are taken"
        )


def _check_range(whose: str, what: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise DeclarationError(f"{whose}: {what} must be a whole number from {least} to {most}, not {value!r}")
