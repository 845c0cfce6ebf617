"""Handles of jobs that were enqueued."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from taskq.tasks.duration import Duration, seconds

T_co = TypeVar("T_co", covariant=True)


class Pending(Protocol[T_co]):
    """A result that is on its way; the client's side implements it."""

    async def wait(self, timeout_s: float | None) -> T_co:
        """Return the result. See :meth:`ResultJob.result` for what it raises."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A job that the broker has confirmed. ``id`` stays the same over all its attempts. It has no result."""

    id: str
    task: str
    queue: str


@dataclass(frozen=True, slots=True)
class ResultJob(Job, Generic[T_co]):
    """A job whose result comes back to this process."""

    _pending: Pending[T_co] = field(repr=False, compare=False)

    async def result(self, *, timeout: Duration | None = None) -> T_co:
        """Wait for the job's end and return its result, in the task's return type.

        ``timeout`` (a ``timedelta`` or seconds) replaces the call's ``reply_timeout``, both counted from here
        and from the enqueue respectively. It may be awaited several times. A wait that is cancelled or runs
        out leaves the job running. Raises :class:`TaskFailed`, :class:`JobExpired`, :class:`JobCancelled` or
        :class:`ResultTimeout`.
        """
        return await self._pending.wait(None if timeout is None else seconds(timeout, "timeout"))
