"""A reply queue of this process. A reply is removed from the database in the transaction that reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from taskq.broker.names import new_reply_queue
from taskq.broker.sqlite.claiming import Row
from taskq.broker.sqlite.packing import unpack
from taskq.broker.sqlite.session import Session
from taskq.broker.sqlite.settling import Read
from taskq.broker.sqlite.subscribing import Unsubscribe
from taskq.broker.sqlite.subscription import Subscription
from taskq.wire.message import Message


class SqliteInbox:
    """Implements :class:`taskq.broker.protocol.Inbox`."""

    def __init__(self, session: Session, receive: Callable[[Message], None]) -> None:
        self._session = session
        self._receive = receive
        self._reading = False
        self._poked = False
        self._closed = False
        self.subscription = Subscription(new_reply_queue(), 0, asyncio.get_running_loop(), self.poke)

    @property
    def address(self) -> str:
        return self.subscription.name

    def poke(self) -> None:
        """Read what has arrived. A poke while that goes on makes it look once more."""
        if self._reading:
            self._poked = True
        elif not self._closed and not self._session.submitter.closed:
            self._reading = True
            self._session.submitter.submit(Read(self.subscription, self._session.clock, self._read))

    async def close(self) -> None:
        """Take the queue down; harmless twice."""
        if not self._closed:
            self._closed = True
            self._session.inboxes.discard(self)
            await self._session.submitter.submit(Unsubscribe(self._session.membership, self.subscription))

    def _read(self, rows: list[Row] | None) -> None:
        self._reading = False
        for _, _, _, properties, body in rows or ():
            if not self._closed:
                self._receive(unpack(properties, body))
        if self._poked or (rows and len(rows) >= Read.at_once):
            self._poked = False
            self.poke()
