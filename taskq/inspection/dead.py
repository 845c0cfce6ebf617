"""Dead letters: list them, show one, put them back, drop them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from taskq.broker.names import dead_queue
from taskq.broker.protocol import Broker, Outgoing
from taskq.wire.dead import DeadLetter, read_dead_letter, revived
from taskq.wire.message import Message


class DeadLetters:
    """The dead letters of one broker, by the queue that their jobs came from."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def list(self, queue: str, *, limit: int = 100) -> list[DeadLetter]:
        """Return up to ``limit`` dead letters of ``queue``, the oldest first; they stay where they are.

        Raises :class:`Unroutable` when the queue has no dead-letter queue.
        """
        letters = await self._broker.inspector.browse(dead_queue(queue), limit=limit)
        return [read_dead_letter(letter, queue) for letter in letters]

    async def retry(self, queue: str, job_ids: Collection[str] | None = None) -> int:
        """Put dead letters back on ``queue``: those of ``job_ids``, or all. Return how many.

        A job begins at attempt 1 again, without its expiry. Its copy is confirmed before the dead letter goes: a crash
        makes a duplicate, never a loss.
        """
        return await self._rework(queue, job_ids, lambda letter: [Outgoing(revived(letter), queue)])

    async def drop(self, queue: str, job_ids: Collection[str] | None = None) -> int:
        """Remove dead letters of ``queue`` for good: those of ``job_ids``, or all. Return how many."""
        return await self._rework(queue, job_ids, lambda letter: [])

    async def _rework(
        self, queue: str, job_ids: Collection[str] | None, replace: Callable[[DeadLetter], Sequence[Outgoing]]
    ) -> int:
        def decide(message: Message) -> Sequence[Outgoing] | None:
            letter = read_dead_letter(message, queue)
            return replace(letter) if job_ids is None or letter.job_id in job_ids else None

        return await self._broker.inspector.rework(dead_queue(queue), decide)
