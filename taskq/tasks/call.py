"""A bound call: a task with its arguments and options. Pure data; nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, Self, TypeVar

from typing_extensions import Unpack

from taskq.tasks.definition import TaskDefinition
from taskq.tasks.job import Job, ResultJob
from taskq.tasks.options import CallOptions, OptionArguments

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class BoundCall(Generic[T_co]):
    """A task with validated arguments and options.

    The arguments are JSON already, so later changes to an argument do not reach it.
    """

    definition: TaskDefinition = field(repr=False)
    body: bytes
    options: CallOptions
    route: Route = field(repr=False, compare=False)

    @property
    def task(self) -> str:
        """The task's name."""
        return self.definition.name

    @property
    def queue(self) -> str:
        """The queue that the job will go to."""
        return self.definition.queue

    def with_options(self, **options: Unpack[OptionArguments]) -> Self:
        """Return this call with other options; see :class:`CallOptions` for each."""
        return replace(self, options=self.options.merged(options))


class Sender(Protocol):
    """How a task reaches the broker. An open app implements it, so that tasks never import the client."""

    async def enqueue(self, call: BoundCall[Any]) -> Job:
        """Send the call and return when the broker has confirmed it."""
        ...

    async def submit(self, call: BoundCall[T]) -> ResultJob[T]:
        """Send the call, confirmed, and return the handle that its result will come to."""
        ...

    async def call(self, call: BoundCall[T]) -> T:
        """Send the call and return its result; it expires with the wait."""
        ...


class Route:
    """The way from a task to the open app. All copies of a task share one; empty while no app is open."""

    __slots__ = ("owner", "sender")

    def __init__(self) -> None:
        self.sender: Sender | None = None
        self.owner: str | None = None
