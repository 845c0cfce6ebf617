"""A stream of events in a program: a temporary queue, read one by one.

What the program has not taken yet waits in the broker, bounded by the queue's limit; only a few are here. An event is
acknowledged when the next one is asked for: who is cancelled while it waits has lost none.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from taskq.broker.protocol import Broker, Consumer, Delivery
from taskq.errors import InvalidArguments, UndecodableMessage, UsageError
from taskq.lifecycle import Emitter, EventUnreadable
from taskq.tasks.event import Event
from taskq.tasks.exchanges import TemporaryQueue
from taskq.tasks.payload import Payload
from taskq.wire import headers as h
from taskq.wire.event import is_foreign, read_event
from taskq.wire.job import read_job
from taskq.wire.message import Message

_PREFETCH = 100


class Listener:
    """An async context manager and iterator over :class:`~taskq.tasks.event.Event`. It is entered once.

    ``open_ones`` holds it while it is open, for the app to end it.
    """

    def __init__(
        self, broker: Broker, emitter: Emitter, queue: TemporaryQueue, payload: Payload, open_ones: set[Listener]
    ) -> None:
        self._broker = broker
        self._emitter = emitter
        self._queue = queue
        self._payload = payload
        self._open_ones = open_ones
        self._arrived: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self._taken: list[Delivery] = []
        self._consumer: Consumer | None = None
        self._ended = False

    async def __aenter__(self) -> Self:
        if self._consumer is not None or self._ended:
            raise UsageError("a stream of events is entered once; call listen(…) again")
        self._consumer = await self._broker.subscribe(self._queue, prefetch=_PREFETCH, deliver=self._arrived.put_nowait)
        self._open_ones.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        if self._consumer is not None:
            await self._consumer.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event[Any]:
        if self._consumer is None:
            raise UsageError("this stream of events is not open; use it inside its `async with`")
        while not self._ended:
            while self._taken:
                await self._taken.pop().settle()  # when it is lost with its connection, nobody else gets it
            delivery = await self._arrived.get()
            if delivery is None:
                self._arrived.put_nowait(None)  # somebody else may wait, too
                break
            self._taken.append(delivery)
            event = self._read(delivery.message)
            if event is not None:
                return event
        raise StopAsyncIteration

    def end(self) -> None:
        """End the stream: whoever waits for an event waits no longer. Harmless twice."""
        self._ended = True
        self._open_ones.discard(self)
        self._arrived.put_nowait(None)

    def _read(self, message: Message) -> Event[Any] | None:
        try:
            read = read_job(message, self._queue.name)
            return read_event(read, self._payload.read(message.body, foreign=is_foreign(message)))
        except (InvalidArguments, UndecodableMessage) as error:
            headers = message.headers
            self._emitter.emit(
                EventUnreadable(
                    exchange=h.text(headers, h.EXCHANGE) or "", key=h.text(headers, h.KEY) or "", error=str(error)
                )
            )
            return None
