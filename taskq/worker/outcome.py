"""What executing a delivery led to. A closed set of values; :mod:`taskq.worker.decide` matches all of them."""

from __future__ import annotations

from dataclasses import dataclass

from taskq.wire.dead import DeadReason
from taskq.wire.failure import Failure


@dataclass(frozen=True, slots=True)
class Returned:
    """The task returned. ``body`` is its result as JSON where a caller waits for it, else ``None``."""

    body: bytes | None


@dataclass(frozen=True, slots=True)
class Raised:
    """The task raised an error of its own, its own ``TimeoutError`` and ``CancelledError`` included."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The time limit of the attempt ran out."""

    after_s: float


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """The task raised ``Retry``. ``after_s`` is ``None`` for the policy's own backoff."""

    reason: str
    after_s: float | None


@dataclass(frozen=True, slots=True)
class SnoozeAsked:
    """The task raised ``Snooze``."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """The task raised ``Reject``."""

    reason: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker's shutdown cut it."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """It was not run: the job's expiry had passed."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """It cannot be run, or its result cannot be sent, whoever tries."""

    reason: DeadReason
    failure: Failure


NO_RESULT = Returned(None)
"""What most jobs lead to: nobody waits for their result."""

Outcome = Returned | Raised | TimedOut | RetryAsked | SnoozeAsked | Rejected | Interrupted | Overdue | Unusable
