"""The embedded broker: it puts the parts together, opens them and closes them in order.

Neighbours: :mod:`~taskq.broker.sqlite.engine` is what has the database,
:mod:`~taskq.broker.sqlite.submitter` the way to it, :mod:`~taskq.broker.sqlite.membership` what this process keeps
there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from taskq.broker.protocol import Delivery, Outgoing
from taskq.broker.sqlite.consumer import SqliteConsumer
from taskq.broker.sqlite.declaring import Declare, Unbind
from taskq.broker.sqlite.inbox import SqliteInbox
from taskq.broker.sqlite.inspector import SqliteInspector
from taskq.broker.sqlite.location import read_location
from taskq.broker.sqlite.packing import pack
from taskq.broker.sqlite.publishing import Publish
from taskq.broker.sqlite.session import Session
from taskq.broker.sqlite.sharing import SharedEngine, acquire_engine
from taskq.broker.sqlite.submitter import Submitter
from taskq.broker.sqlite.subscribing import Subscribe, Unsubscribe
from taskq.broker.sqlite.system import OPERATING_SYSTEM, System
from taskq.clock import Clock
from taskq.errors import BrokerError, UsageError
from taskq.lifecycle import Event
from taskq.tasks.exchanges import Binding, ExchangeDefinition, TemporaryQueue
from taskq.tasks.queues import Queue
from taskq.wire.message import Message

_TIMEOUT_S = 15.0  # of what has no deadline of its own in the contract
_CLOSE_S = 10.0  # how long leaving waits for what was submitted, while the file takes it
_OWED_S = 5.0  # how long the file may take nothing, before leaving waits no more for what only we can do
_STUCK_S = 2.0  # the same for what others tidy up
_TRY_S = 0.3  # how long leaving waits at least: what could not be done is tried once more in that time
_LOOK_S = 0.1


class SqliteBroker:
    """Implements :class:`taskq.broker.protocol.Broker` on one SQLite file, or in memory.

    ``url``: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``memory://``, ``memory://name``. All brokers of one
    process with the same memory URL share one database, which vanishes with the last of them. ``lease_s``: after how
    long a process counts as dead that neither renews its lease nor can be seen. ``emit`` is called on the loop.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        lease_s: float = 15.0,
        emit: Callable[[Event], None] | None = None,
        connect_timeout_s: float = _TIMEOUT_S,
        system: System = OPERATING_SYSTEM,
    ) -> None:
        self._location = read_location(url)
        self._clock = clock
        self._lease_s = lease_s
        self._emit = emit
        self._connect_timeout_s = connect_timeout_s
        self._system = system
        self._shared: SharedEngine | None = None
        self._session: Session | None = None
        self._closing: asyncio.Task[None] | None = None

    ack_timeout_s: float | None = None

    @property
    def label(self) -> str:
        """The absolute URL."""
        return self._location.label

    @property
    def dropped_replies(self) -> int:
        """How many messages with ``mandatory=False`` found no queue."""
        return self._session.dropped_replies if self._session is not None else 0

    async def __aenter__(self) -> Self:
        if self._shared is not None:
            raise UsageError("a broker is entered once; make another one")
        self._shared = acquire_engine(self._location, self._clock, self._lease_s, self._connect_timeout_s, self._system)
        try:
            await asyncio.shield(asyncio.wrap_future(self._shared.engine.opened))
        except BaseException:
            await self._shared.release()
            raise
        membership = self._shared.membership
        submitter = Submitter(self._shared.engine, self.label)
        self._session = session = Session(
            label=self.label, membership=membership, submitter=submitter, clock=self._clock, emit=self._emit
        )
        self._shared.engine.trouble.watch(asyncio.get_running_loop(), session)
        if membership.wakeups is not None:
            membership.wakeups.listen(asyncio.get_running_loop(), membership.wake)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def declare(
        self,
        queues: Iterable[Queue],
        *,
        exchanges: Iterable[ExchangeDefinition] = (),
        bindings: Iterable[Binding] = (),
    ) -> None:
        """Make these queues, their dead-letter queues, exchanges and bindings exist, or nothing; see the protocol."""
        session = self._open()
        declare = Declare(list(queues), list(exchanges), list(bindings))
        if not declare.is_empty:
            await session.submitter.submit(declare, timeout_s=_TIMEOUT_S)

    async def unbind(self, binding: Binding) -> None:
        """Make a binding not exist; see the protocol."""
        await self._open().submitter.submit(Unbind(binding), timeout_s=_TIMEOUT_S)

    def publish(self, outgoing: Outgoing, *, timeout_s: float) -> asyncio.Future[None]:
        """Start to publish; see the protocol. A publish whose wait is cancelled is withdrawn if it has not begun."""
        session = self._open()
        publish = Publish(pack(outgoing, self._clock.now()), session.count_dropped)
        return session.submitter.submit(publish, timeout_s=timeout_s)

    async def consume(self, queue: str, *, prefetch: int, deliver: Callable[[Delivery], None]) -> SqliteConsumer:
        """Open a consumer; see the protocol."""
        return await self._consume(queue, prefetch, deliver)

    async def subscribe(
        self, queue: TemporaryQueue, *, prefetch: int, deliver: Callable[[Delivery], None]
    ) -> SqliteConsumer:
        """Make a temporary queue and consume it; see the protocol. A burst counts against its limit as a whole."""
        return await self._consume(queue, prefetch, deliver)

    async def open_inbox(self, receive: Callable[[Message], None]) -> SqliteInbox:
        """Open a reply queue of this process; see the protocol."""
        session = self._open()
        inbox = SqliteInbox(session, receive)
        try:
            await session.submitter.submit(Subscribe(session.membership, inbox.subscription), timeout_s=_TIMEOUT_S)
        except BaseException:  # also a wait that was cancelled: nobody would ever close this subscription
            if not session.submitter.closed:
                session.submitter.submit(Unsubscribe(session.membership, inbox.subscription))
            raise
        session.inboxes.add(inbox)
        return inbox

    @property
    def inspector(self) -> SqliteInspector:
        """Looks at queues."""
        return SqliteInspector(self._open(), self.label)

    async def _consume(
        self, queue: str | TemporaryQueue, prefetch: int, deliver: Callable[[Delivery], None]
    ) -> SqliteConsumer:
        session = self._open()
        if prefetch < 1:
            raise UsageError(f"prefetch must be at least 1, not {prefetch}")
        consumer = SqliteConsumer(session, queue, prefetch, deliver)
        session.consumers.add(consumer)
        try:
            await session.submitter.submit(Subscribe(session.membership, consumer.subscription), timeout_s=_TIMEOUT_S)
        except BaseException:  # also a wait that was cancelled: it may be stored, and poked already
            consumer.abandon()
            raise
        consumer.poke()
        return consumer

    def _open(self) -> Session:
        if self._session is None:
            raise UsageError("this broker is not open; use it inside its `async with`")
        self._session.submitter.check_usable()
        return self._session

    async def _close(self) -> None:
        session, shared = self._session, self._shared
        if session is None or shared is None or session.submitter.closed:
            return
        session.submitter.check_usable()
        leaving = asyncio.get_running_loop().create_task(self._leave(session, shared))
        try:
            await _while_it_helps(leaving, session.submitter)
        finally:
            shared.engine.trouble.unwatch(session)
            session.submitter.close()
            leaving.cancel()
            await asyncio.wait({leaving})
            await shared.release()
        if not leaving.cancelled() and (error := leaving.exception()) and not isinstance(error, BrokerError):
            raise error  # else the file is broken, and the others find that we are gone

    async def _leave(self, session: Session, shared: SharedEngine) -> None:
        """Have all that was submitted done, and take down what is ours."""
        await asyncio.gather(*[each.close() for each in (*session.consumers, *session.inboxes)])
        await session.submitter.drain(_CLOSE_S)
        await shared.deregister(session.submitter)


async def _while_it_helps(leaving: asyncio.Task[None], submitter: Submitter) -> None:
    """Wait for ``leaving``: on a file that takes nothing, a while for what is owed, and hardly for the rest."""
    loop = asyncio.get_running_loop()
    until, tried_by = loop.time() + _CLOSE_S, loop.time() + _TRY_S
    while not leaving.done() and (left_s := until - loop.time()) > 0:
        if loop.time() >= tried_by and submitter.stuck_s > (_OWED_S if submitter.owes else _STUCK_S):
            return
        await asyncio.wait({leaving}, timeout=min(left_s, _LOOK_S))
