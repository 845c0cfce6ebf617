"""What becomes of a delivery. A closed set of values; :mod:`taskq.worker.settle` carries each out."""

from __future__ import annotations

from dataclasses import dataclass

from taskq.wire.dead import DeadReason
from taskq.wire.failure import Failure


@dataclass(frozen=True, slots=True)
class Complete:
    """Acknowledge, with the result to the caller where one waits."""

    result: bytes | None


@dataclass(frozen=True, slots=True)
class TryAgain:
    """A copy with the next attempt number, not before ``at`` (seconds since the epoch)."""

    at: float
    wait_s: float
    attempt: int
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class PutOff:
    """A copy with the same attempt number, not before ``at``."""

    at: float
    wait_s: float


@dataclass(frozen=True, slots=True)
class HandBack:
    """A copy with the same attempt number, at once."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What is left of a dead letter that the broker refuses: ``body`` bytes of its body, and no headers of others.

    ``reply``: whether the caller is told, in short.
    """

    body: int
    reply: bool


@dataclass(frozen=True, slots=True)
class Bury:
    """A dead letter, and the error to the caller where one waits. ``cut``: only a part of both can be sent."""

    reason: DeadReason
    failure: Failure
    cut: Cut | None = None


@dataclass(frozen=True, slots=True)
class LetExpire:
    """Acknowledge, and tell the caller that the job expired."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Acknowledge, and that is all: the event of a temporary subscription, which has nowhere else to go."""

    reason: str
    failure: Failure


NO_REPLY = Complete(None)
"""What becomes of most deliveries."""

Verdict = Complete | TryAgain | PutOff | HandBack | Bury | LetExpire | Drop
