"""Names of queues that taskq itself makes. Pure."""

from __future__ import annotations

import uuid

from taskq.tasks.queues import DEAD_SUFFIX

REPLY_PREFIX = "taskq.reply."
SUBSCRIPTION_PREFIX = "taskq.subscription."


def dead_queue(queue: str) -> str:
    """Return the name of the queue that keeps the dead letters of ``queue``."""
    return queue + DEAD_SUFFIX


def origin_of(dead: str) -> str:
    """Return the queue whose dead letters ``dead`` keeps."""
    return dead.removesuffix(DEAD_SUFFIX)


def new_reply_queue() -> str:
    """Return a name for the reply queue of one process; it cannot be guessed."""
    return f"{REPLY_PREFIX}{uuid.uuid4()}"


def new_subscription_queue() -> str:
    """Return a name for a temporary queue of one process."""
    return f"{SUBSCRIPTION_PREFIX}{uuid.uuid4()}"
