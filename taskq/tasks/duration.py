"""Durations as users write them: a ``timedelta`` or a number of seconds."""

from __future__ import annotations

import math
from datetime import timedelta

from taskq.errors import DeclarationError

Duration = timedelta | float
"""A length of time: a ``timedelta``, or a number of seconds where a person writes it by hand."""

LONGEST_S = 10 * 365 * 24 * 3600.0
"""Ten years, in seconds: above it, a duration is taken for a mistake (milliseconds, say)."""


def seconds(duration: Duration, what: str, *, zero: bool = True) -> float:
    """Return ``duration`` in seconds.

    Raises :class:`DeclarationError`, naming ``what``, when it is no duration, negative, not finite, above ten
    years, or zero where ``zero`` is not allowed.
    """
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, (int, float)) and not isinstance(duration, bool):
        # an int may be too large to be a float; NaN stays NaN
        value = float(min(max(duration, -1), 2 * LONGEST_S))
    else:
        raise DeclarationError(f"{what}: {duration!r} is no duration; give a timedelta or a number of seconds")
    if not math.isfinite(value) or value < 0 or value > LONGEST_S or (value == 0 and not zero):
        least = "0" if zero else "above 0"
        raise DeclarationError(f"{what}: {duration!r} is out of range; it must be {least} to 10 years (in seconds)")
    return value
