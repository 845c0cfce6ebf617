"""Retry policies: how often a job is tried and how long it waits in between. Pure data and arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import assert_never, cast

from taskq.errors import DeclarationError
from taskq.tasks.duration import Duration, seconds

_DEFAULT_CAP_S = 600.0
_MANY = 10**9  # a number of attempts that a float can still hold; messages of others may say anything


@dataclass(frozen=True, slots=True)
class Fixed:
    """Wait the same ``delay`` before every retry.

    ``jitter=True`` draws the wait evenly from 0 to it instead ("full jitter").
    """

    delay: Duration
    jitter: bool = False

    def __post_init__(self) -> None:
        seconds(self.delay, "Fixed(delay)")


@dataclass(frozen=True, slots=True)
class Linear:
    """Wait ``step`` before the first retry, twice that before the second, and so on, at most ``cap``."""

    step: Duration
    cap: Duration = _DEFAULT_CAP_S
    jitter: bool = False

    def __post_init__(self) -> None:
        seconds(self.step, "Linear(step)")
        seconds(self.cap, "Linear(cap)")


@dataclass(frozen=True, slots=True)
class Exponential:
    """Wait ``base`` before the first retry and ``factor`` times longer before each further one, at most
    ``cap``.

    With ``jitter`` (the default) the wait is drawn evenly from 0 to that value ("full jitter"), so that jobs
    that failed together do not come back together.
    """

    base: Duration = 1.0
    factor: float = 2.0
    cap: Duration = _DEFAULT_CAP_S
    jitter: bool = True

    def __post_init__(self) -> None:
        seconds(self.base, "Exponential(base)")
        seconds(self.cap, "Exponential(cap)")
        if not isinstance(self.factor, (int, float)) or not 1.0 <= self.factor <= 100.0:
            raise DeclarationError(f"Exponential(factor): {self.factor!r} is out of range; it must be 1 to 100")


Backoff = Fixed | Linear | Exponential
"""How long a job waits before its next attempt."""


def _is_exception_type(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a job is tried.

    ``attempts`` is the highest number of executions that count, the first included (1: no retry).
    ``retry_on`` and ``give_up_on`` are exception types: an error is retried when it is an instance of the
    first and not of the second. A timeout counts as a ``TimeoutError``. ``raise Retry(...)`` is retried
    whatever the types say.
    """

    attempts: int = 1
    backoff: Backoff = Exponential()
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    give_up_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or isinstance(self.attempts, bool) or not 1 <= self.attempts <= 1000:
            raise DeclarationError(f"RetryPolicy(attempts): {self.attempts!r} must be a whole number from 1 to 1000")
        if not isinstance(self.backoff, (Fixed, Linear, Exponential)):
            raise DeclarationError(f"RetryPolicy(backoff): {self.backoff!r} is none of Fixed, Linear, Exponential")
        for name in ("retry_on", "give_up_on"):
            types: object = getattr(self, name)
            if not isinstance(types, tuple) or not all(map(_is_exception_type, cast("tuple[object]", types))):
                raise DeclarationError(f"RetryPolicy({name}): give a tuple of exception types, got {types!r}")

    def retries(self, error: BaseException) -> bool:
        """Say whether this kind of error is worth another attempt (the number of attempts aside)."""
        return isinstance(error, self.retry_on) and not isinstance(error, self.give_up_on)


def check_retry(whose: str, retry: object) -> None:
    """Raise :class:`DeclarationError` when ``retry`` is neither a policy nor ``None``. ``whose`` is for people."""
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise DeclarationError(f"{whose}: retry={retry!r}; give a RetryPolicy(attempts=…)")


NO_RETRY = RetryPolicy()
"""The default: one attempt."""


def wait_s(backoff: Backoff, attempt: int, rng: Random) -> float:
    """Return the seconds to wait after attempt number ``attempt`` (from 1) failed."""
    match backoff:
        case Fixed():
            wait = seconds(backoff.delay, "delay")
        case Linear():
            wait = min(seconds(backoff.step, "step") * min(attempt, _MANY), seconds(backoff.cap, "cap"))
        case Exponential():
            wait = _exponential_s(backoff, min(attempt, _MANY))
        case _:
            assert_never(backoff)
    return rng.uniform(0.0, wait) if backoff.jitter else wait


def _exponential_s(backoff: Exponential, attempt: int) -> float:
    cap = seconds(backoff.cap, "cap")
    try:
        return min(seconds(backoff.base, "base") * backoff.factor ** (attempt - 1), cap)
    except OverflowError:
        return cap
