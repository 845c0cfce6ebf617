"""What a caller may say about one call besides its arguments: a closed, typed list."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from types import MappingProxyType
from typing import TypedDict

from taskq.errors import DeclarationError
from taskq.tasks.duration import Duration, seconds

HeaderValue = str | int | float | bool
RESERVED_PREFIX = "taskq-"
_LONGEST_JOB_ID = 128  # bytes; AMQP's `correlation_id` has 255


class OptionArguments(TypedDict, total=False):
    """The keyword arguments of ``with_options``."""

    delay: Duration | None
    at: datetime | None
    priority: int | None
    expires: Duration | None
    reply_timeout: Duration | None
    headers: Mapping[str, HeaderValue] | None
    job_id: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CallOptions:
    """The options of one call.

    ``delay`` (a ``timedelta`` or seconds) or ``at`` (an aware ``datetime``): not before then. ``priority``: 0
    to the queue's ``max_priority``, higher first. ``expires``: how long after the enqueue the job may still
    start. ``reply_timeout``: how long ``call`` and ``result`` wait. ``headers``: own headers, for people and
    middleware. ``job_id``: an id of your own instead of a new one.
    """

    delay: Duration | None = None
    at: datetime | None = None
    priority: int | None = None
    expires: Duration | None = None
    reply_timeout: Duration | None = None
    headers: Mapping[str, HeaderValue] | None = field(default=None, hash=False)
    job_id: str | None = None

    def __post_init__(self) -> None:
        self._check_times()
        if self.priority is not None and not (_is_whole(self.priority) and 0 <= self.priority <= 255):
            raise DeclarationError(f"priority: {self.priority!r} must be a whole number from 0 to 255")
        if self.job_id is not None and not is_job_id(self.job_id):
            raise DeclarationError(f"job_id: {self.job_id!r} must be 1 to {_LONGEST_JOB_ID} printable characters")
        if self.headers is None:
            return
        if not isinstance(self.headers, Mapping):
            raise DeclarationError(f"headers: {self.headers!r} is no mapping of names to values")
        for name, value in self.headers.items():
            _check_header(name, value)
        # a copy, so that later changes to the caller's dict do not reach a call that is bound
        object.__setattr__(self, "headers", MappingProxyType(dict(self.headers)))

    def merged(self, changes: OptionArguments) -> CallOptions:
        """Return these options with ``changes`` applied over them.

        Raises :class:`DeclarationError` for an option that does not exist or does not fit.
        """
        known = {f.name for f in fields(self)}
        if unknown := sorted(set(changes) - known):
            raise DeclarationError(f"no option {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        return replace(self, **changes)

    def not_before(self, now: float) -> float | None:
        """Return the earliest start as seconds since the epoch, or ``None`` for at once."""
        if self.at is not None:
            return self.at.timestamp()
        return None if self.delay is None else now + seconds(self.delay, "delay")

    def deadline(self, now: float) -> float | None:
        """Return the expiry as seconds since the epoch, counted from ``now``, or ``None`` for never."""
        return None if self.expires is None else now + seconds(self.expires, "expires")

    def _check_times(self) -> None:
        for name in ("delay", "expires", "reply_timeout"):
            value = getattr(self, name)
            if value is not None:
                seconds(value, name, zero=name == "delay")
        if self.at is not None and (not isinstance(self.at, datetime) or self.at.utcoffset() is None):
            raise DeclarationError(f"at: {self.at!r} has no time zone; use datetime.now(timezone.utc) + …")
        if self.at is not None and self.delay is not None:
            raise DeclarationError("give delay or at, not both")
        if (
            self.delay is not None
            and self.expires is not None
            and seconds(self.expires, "expires") <= seconds(self.delay, "delay")
        ):
            raise DeclarationError("expires is counted from the enqueue and must be longer than delay")


def _check_header(name: object, value: object) -> None:
    if not isinstance(name, str) or not name or not name.isprintable() or len(name.encode()) > 128:
        raise DeclarationError(f"headers: {name!r} is no header name (1 to 128 bytes of printable text)")
    if name.lower().startswith((RESERVED_PREFIX, "x-")) or name in ("traceparent", "tracestate", "CC", "BCC"):
        raise DeclarationError(f"headers: {name!r} is reserved; choose a name without 'taskq-' and 'x-' in front")
    if not isinstance(value, (str, int, float, bool)):
        raise DeclarationError(f"headers: {name!r} has the value {value!r}; use text, a number or a bool")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise DeclarationError(f"headers: {name!r} has an integer above 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise DeclarationError(f"headers: {name!r} has the value {value!r}, which no JSON reader knows")
    if isinstance(value, str) and not is_text(value):
        raise DeclarationError(f"headers: {name!r} has a text that is no valid Unicode")


def is_job_id(text: object) -> bool:
    """Say whether something can be a job id: 1 to 128 bytes of printable text."""
    if not isinstance(text, str) or not text.isprintable():
        return False
    return 0 < len(text) <= _LONGEST_JOB_ID and (text.isascii() or len(text.encode()) <= _LONGEST_JOB_ID)


def is_text(value: str) -> bool:
    """Say whether a string can be written as UTF-8; half of a surrogate pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


NO_OPTIONS = CallOptions()
