"""Which ways through the delay ladder are known to exist, and how a message takes one.

The ladder is declared once for each connection, before the first delayed publish on it, and the way out to a queue
before the first one to that queue. Who may not make the ladder uses the one that is there. A delay beyond the ladder's
top waits in pieces: the message carries the instant it waits for, and who gets it too early sends it round again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from taskq.broker.amqp.declaring import Declarer
from taskq.broker.amqp.ladder import LADDER, LONGEST_S, UNROUTABLE, entry, way_out
from taskq.broker.amqp.topology import Topology
from taskq.errors import AccessRefused
from taskq.wire.message import Message

NOT_BEFORE = "taskq-not-before"


class DelayRoutes:
    """What was declared of the ladder. ``forget`` makes it be declared again."""

    def __init__(self, declarer: Declarer) -> None:
        self._declarer = declarer
        self._ladder = False
        self._ways: set[str] = set()

    def ready(self, queue: str) -> bool:
        """Whether a message can take the ladder to ``queue``."""
        return queue in self._ways

    async def prepare(self, queue: str) -> None:
        """Make the way to ``queue`` exist. Raises :class:`BrokerError`: ``Unroutable`` when there is no such queue."""
        if not self._ladder:
            await self._declarer.apply(LADDER, whole=True)
            self._ladder = True
        await self._declarer.bind(way_out(queue))
        self._ways.add(queue)

    async def restore(self, queues: Sequence[str]) -> None:
        """Make the ways to new queues exist, where there is a ladder: those of the queues before them went with them.

        Whoever sends takes a way for granted that it has seen before. Without the permission nothing is made: such a
        program delays nothing itself, and is not kept from its work for the sake of others.
        """
        self._ways.difference_update(queues)
        if queues and await self._declarer.counts(UNROUTABLE) is not None:
            with suppress(AccessRefused):
                await self._declarer.apply(Topology(bindings=tuple(way_out(queue) for queue in queues)))

    def forget(self) -> None:
        """Take nothing for granted any more: another connection, or somebody deleted it."""
        self._ladder = False
        self._ways.clear()


def delayed(message: Message, not_before: float, now: float) -> Message:
    """Return the message to send: with the instant it waits for, where the ladder is too short for that."""
    if not_before - now <= LONGEST_S:
        return message
    return message._replace(headers={**message.headers, NOT_BEFORE: round(not_before * 1000)})


def route(queue: str, delay_s: float) -> tuple[str, str]:
    """Return exchange and routing key of a message for ``queue`` that is to come after ``delay_s``."""
    return entry(min(delay_s, LONGEST_S), queue)
