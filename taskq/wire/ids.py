"""Identifiers: job ids sort by time (UUIDv7, RFC 9562), message ids are only unique.

The time in a job id is the system's, whatever clock the program runs on: it makes ids sort, and nothing reads it.
"""

from __future__ import annotations

import os
import time
import uuid
from functools import lru_cache

_MILLIS = (1 << 48) - 1


def new_job_id() -> str:
    """Return a new UUIDv7 as text."""
    random = os.urandom(10)
    hex, variant = random.hex(), "89ab"[random[9] & 3]
    return f"{_beginning(time.time_ns() // 1_000_000 & _MILLIS)}{hex[:3]}-{variant}{hex[3:6]}-{hex[6:18]}"


@lru_cache(maxsize=1)  # many may be made in a millisecond
def _beginning(millis: int) -> str:
    time_hex = f"{millis:012x}"
    return f"{time_hex[:8]}-{time_hex[8:]}-7"


def new_message_id() -> str:
    """Return a new message id: 128 random bits as 32 hexadecimal digits."""
    return os.urandom(16).hex()


def derived_job_id(message_id: str) -> str:
    """Return the job id of a message that carries none of ours: always the same for one ``message_id``."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, message_id.encode(errors="replace").decode()))
