"""Where the replies to this process go: a reply queue, and another one when the node that has the first is down.

Theory of operation. Replies to calls that were sent before lie in the first, or will: so it is tried on, and read when
its node is back, beside the one that took its place. After the life of a reply queue nobody waits for those any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from taskq.broker.amqp.replyqueue import ReplyQueue
from taskq.broker.amqp.surroundings import Surroundings
from taskq.broker.amqp.topology import REPLY_LIFE_MS
from taskq.errors import BrokerError
from taskq.lifecycle import ConsumerResumed
from taskq.wire.message import Message


class AmqpInbox:
    """Implements :class:`taskq.broker.protocol.Inbox`."""

    def __init__(self, broker: Surroundings, receive: Callable[[Message], None]) -> None:
        self._broker = broker
        self._receive = receive
        self._queue = self._new()
        self._earlier: dict[asyncio.Task[None], ReplyQueue] = {}
        self._moving: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def address(self) -> str:
        """The name of the queue for the replies to come."""
        return self._queue.name

    async def open(self) -> None:
        """Make the queue and read it, now and after every loss. Raises :class:`BrokerError`; it can be tried again."""
        await self._queue.open()

    async def close(self) -> None:
        """Take it all down, as far as the broker answers; else it goes by itself. Harmless twice, and half open."""
        self._closed = True
        queues = [self._queue, *self._earlier.values()]
        tasks = [*self._earlier, *filter(None, [self._moving])]
        for task in tasks:
            task.cancel()  # one that has not begun never takes its queue down
        await asyncio.gather(*(queue.close() for queue in queues), *tasks, return_exceptions=True)

    def _new(self) -> ReplyQueue:
        queue = ReplyQueue(self._broker, self._receive, lambda: self._homeless(queue))
        return queue

    def _homeless(self, queue: ReplyQueue) -> None:
        moving = self._moving is not None and not self._moving.done()
        if queue is self._queue and not moving and not self._closed:
            self._moving = asyncio.create_task(self._move(), name="taskq: another reply queue")

    async def _move(self) -> None:
        """Have another queue for what is sent from now on. When there is none either, we are called again."""
        queue = self._new()
        try:
            await queue.open()
        except BaseException as error:
            await queue.close()
            if not isinstance(error, BrokerError):
                raise
            return
        earlier, self._queue = self._queue, queue
        self._broker.emit(ConsumerResumed(queue=queue.name))
        reading = asyncio.create_task(self._read_out(earlier), name="taskq: an earlier reply queue")
        self._earlier[reading] = earlier
        reading.add_done_callback(self._earlier.pop)

    async def _read_out(self, earlier: ReplyQueue) -> None:
        await asyncio.sleep(REPLY_LIFE_MS / 1000)
        with suppress(BrokerError):
            await earlier.close()
