"""A reply queue of this process; :mod:`~taskq.broker.sqlite.receiving` says how it is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from taskq.broker.names import new_reply_queue
from taskq.broker.sqlite.packing import unpack
from taskq.broker.sqlite.receiving import AT_ONCE, Read, Remove, ReplyRow
from taskq.broker.sqlite.session import Session
from taskq.broker.sqlite.subscribing import Unsubscribe
from taskq.broker.sqlite.subscription import Subscription
from taskq.errors import BrokerError
from taskq.wire.message import Message

_REMOVE_AFTER_S = 0.05  # what was read meanwhile is removed together


class SqliteInbox:
    """Implements :class:`taskq.broker.protocol.Inbox`."""

    def __init__(self, session: Session, receive: Callable[[Message], None]) -> None:
        self._session = session
        self._receive = receive
        self._reading = False
        self._poked = False
        self._closed = False
        self._last = 0  # the id of the last reply that was read
        self._removal: asyncio.TimerHandle | None = None
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
            self._session.submitter.submit(Read(self.subscription, self._last, self._read))

    async def close(self) -> None:
        """Take the queue down; harmless twice."""
        if not self._closed:
            self._closed = True
            if self._removal is not None:
                self._removal.cancel()
            self._session.inboxes.discard(self)
            with suppress(BrokerError):  # a broken file: the others find that we are gone
                await self._session.submitter.submit(Unsubscribe(self._session.membership, self.subscription))

    def _read(self, rows: list[ReplyRow] | None) -> None:
        self._reading = False
        if rows:
            self._last = rows[-1][0]
            if self._removal is None and not self._closed:
                self._removal = asyncio.get_running_loop().call_later(_REMOVE_AFTER_S, self._remove)
        for _, properties, body in rows or ():
            if not self._closed:
                self._receive(unpack(properties, body))
        if self._poked or (rows and len(rows) >= AT_ONCE):
            self._poked = False
            self.poke()

    def _remove(self) -> None:
        self._removal = None
        if not self._closed and not self._session.submitter.closed:
            self._session.submitter.submit(Remove(self.subscription, self._last))
