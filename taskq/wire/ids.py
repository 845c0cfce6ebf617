"""Identifiers: job ids sort by time (UUIDv7, RFC 9562), message ids are only unique.

The time in a job id is the system's, whatever clock the program runs on: it makes ids sort, and nothing reads it.
"""

from __future__ import annotations

import os
import time
import uuid


def new_job_id() -> str:
    """Return a new UUIDv7 as text."""
    millis = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (millis & (1 << 48) - 1) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def new_message_id() -> str:
    """Return a new message id: 128 random bits as 32 hexadecimal digits."""
    return os.urandom(16).hex()


def derived_job_id(message_id: str) -> str:
    """Return the job id of a message that carries none of ours: always the same for one ``message_id``."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, message_id.encode(errors="replace").decode()))
