"""Identifiers: job ids sort by time (UUIDv7, RFC 9562), message ids are only unique.

The time in a job id is the system's, whatever clock the program runs on: it makes ids sort, and nothing reads it.
"""

from __future__ import annotations

import os
import time
import uuid

_MILLIS = (1 << 48) - 1


def new_job_id() -> str:
    """Return a new UUIDv7 as text."""
    millis = time.time_ns() // 1_000_000 & _MILLIS
    random = os.urandom(10)
    time_hex, hex = f"{millis:012x}", random.hex()
    variant = "89ab"[random[9] & 3]
    return f"{time_hex[:8]}-{time_hex[8:]}-7{hex[:3]}-{variant}{hex[3:6]}-{hex[6:18]}"


def new_message_id() -> str:
    """Return a new message id: 128 random bits as 32 hexadecimal digits."""
    return os.urandom(16).hex()


def derived_job_id(message_id: str) -> str:
    """Return the job id of a message that carries none of ours: always the same for one ``message_id``."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, message_id.encode(errors="replace").decode()))
