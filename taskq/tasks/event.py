"""An event: one message of an exchange, as a subscriber sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from taskq.tasks.options import HeaderValue

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Generic[T_co]):
    """What was published, and where.

    ``payload`` is in the exchange's declared type. ``exchange`` and ``key`` are those it was published with, also in a
    retry. ``headers``: the publisher's own. ``id``: the same for every subscriber, and over all attempts of one.
    ``time``: when it was published (UTC), ``None`` where a foreign program did not say.
    """

    payload: T_co
    exchange: str
    key: str
    headers: Mapping[str, HeaderValue]
    id: str
    time: datetime | None
