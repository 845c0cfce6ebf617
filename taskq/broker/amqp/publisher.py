"""Publishes, confirmed: pipelined, in order, each with its deadline, over connections that come and go.

Theory of operation. A publish goes out at once when the channel is there and has room in its window; else it waits in
the backlog, in order. It is open until the broker confirms it. A publish that no queue takes comes back *before* its
confirm and is found by its message id. When the channel is lost, what was sent and not confirmed goes back to the head
of the backlog as another copy with a message id of its own, so that a late return of the first cannot be mistaken.

The broker answers a publish that it cannot carry out (too large for it, no permission) by closing the channel, and does
not say which one it was. So after such an end the window is 1 until all suspects are through: the channel that closes
with one publish open names the culprit, and only its caller gets the error.

The window bounds what is in flight, in messages and in bytes, so that neither the broker nor the socket's buffer gets
more than they can take; one message that is larger than that goes alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import chain
from math import inf
from typing import Any

from pamqp import commands

from taskq.broker.amqp.deadlines import Deadlines
from taskq.broker.amqp.delays import DelayRoutes, route
from taskq.broker.amqp.lifeline import Lifeline
from taskq.broker.amqp.link import Link
from taskq.broker.amqp.outbox import Publish
from taskq.broker.amqp.plane.confirms import ConfirmLedger
from taskq.broker.amqp.plane.events import Confirmed, Event, Returned
from taskq.broker.amqp.plane.faults import ChannelGone, ProtocolViolation
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.plane.properties import decode_message_id
from taskq.broker.amqp.refusals import refused_channel
from taskq.broker.protocol import Outgoing
from taskq.clock import Clock
from taskq.errors import BrokerBlocked, BrokerError, BrokerUnreachable, PublishUnconfirmed, Unroutable

_WINDOW = 4096  # messages
_WINDOW_BYTES = 16 << 20
_PAUSE_S = 0.05
_CLOSE_S = 5.0
_NOT_FOUND = 404


class Publisher:
    """The publishing half of a broker. ``dropped`` is told of messages that were not mandatory and had no queue."""

    def __init__(
        self,
        lifeline: Lifeline,
        routes: DelayRoutes,
        *,
        clock: Clock,
        label: str,
        dropped: Callable[[Outgoing], None],
    ) -> None:
        self._lifeline = lifeline
        self._routes = routes
        self._clock = clock
        self._label = label
        self._dropped = dropped
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._channel: HotChannel | None = None
        self._ended = asyncio.Event()
        self._open: ConfirmLedger[Publish] = ConfirmLedger()
        self._by_id: dict[str, Publish] = {}
        self._bytes = 0
        self._backlog: deque[Publish] = deque()
        self._window = _WINDOW
        self._suspects = 0
        self._preparing: dict[str, list[Publish]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._deadlines = Deadlines(self._all, self._overdue)
        self._closed = False

    def start(self) -> None:
        """Begin to keep a channel open."""
        self._spawn(self._live(), "publisher")

    def publish(self, outgoing: Outgoing, timeout_s: float | None) -> asyncio.Future[None]:
        """Start to publish; see :meth:`Broker.publish`. Without a timeout it goes on as long as the broker is open."""
        confirmed: asyncio.Future[None] = self._loop.create_future()
        deadline = inf if timeout_s is None else self._loop.time() + timeout_s
        publish = Publish(outgoing, confirmed, deadline, timeout_s or inf, self._clock.now())
        if self._closed:
            confirmed.set_exception(BrokerUnreachable(f"{self._label} was closed by this program"))
            return confirmed
        self._deadlines.watch(deadline)
        if publish.not_before is not None and not self._routes.ready(publish.queue):
            self._prepare(publish)
        elif self._backlog or not self._has_room(publish):
            self._backlog.append(publish)
        else:
            self._send(publish)
        return confirmed

    def pump(self) -> None:
        """Send what waits, as far as there is room. Called when something changed that made it wait."""
        backlog = self._backlog
        while backlog and self._has_room(backlog[0]):
            publish = backlog.popleft()
            if not publish.confirmed.done():
                self._send(publish)

    async def close(self) -> None:
        """Let what is open be confirmed, as long as that is to be expected, and end. Harmless twice."""
        self._closed = True
        waiting = [publish.confirmed for publish in self._all()]
        if waiting and self._channel is not None:
            await asyncio.wait(waiting, timeout=_CLOSE_S)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._channel is not None and self._link is not None and self._link.alive:
            await self._channel.close_within(_CLOSE_S)
        for publish in list(self._all()):
            self._fail(publish, self._late(publish))
        self._deadlines.close()

    # The channel.

    async def _live(self) -> None:
        while True:
            link = await self._lifeline.link()
            self._ended.clear()
            try:
                channel = await link.hot_channel(self._receive, self._gone)
                await channel.call(commands.Confirm.Select())
            except ChannelGone:
                await asyncio.sleep(_PAUSE_S if link.alive else 0)
                continue
            if self._link is not link:
                self._routes.forget()
            self._link, self._channel = link, channel
            self.pump()
            await self._ended.wait()

    def _gone(self, gone: ChannelGone) -> None:
        """Take back what was sent and not confirmed."""
        self._channel = None
        left = [publish for publish in self._open.take_all() if not publish.confirmed.done()]
        self._open = ConfirmLedger()
        self._by_id.clear()
        self._bytes = 0
        if gone.code and len(left) == 1:
            self._convict(left.pop(), gone)
        elif gone.code:
            self._suspects, self._window = len(left), 1
        for publish in left:
            publish.renew()
        self._backlog.extendleft(reversed(left))
        self._ended.set()

    def _convict(self, publish: Publish, gone: ChannelGone) -> None:
        """Give the error to the publish that the broker closed the channel for."""
        self._absolve()
        if publish.not_before is not None and gone.code == _NOT_FOUND:
            self._routes.forget()  # the ladder was deleted
            publish.renew()
            self._prepare(publish)
            return
        refused = refused_channel(gone.text, self._label, "write")
        self._fail(publish, refused or BrokerError(f"{self._label} refuses the message: {gone.text}"))

    def _absolve(self) -> None:
        if self._suspects:
            self._suspects -= 1
            if not self._suspects:
                self._window = _WINDOW

    def _has_room(self, publish: Publish) -> bool:
        channel, link, count = self._channel, self._link, len(self._open)
        if channel is None or link is None:
            return False
        plane = link.plane
        if not plane.writable or plane.blocked is not None or count >= self._window:
            return False
        return not count or self._bytes + publish.size <= _WINDOW_BYTES

    def _send(self, publish: Publish) -> None:
        channel = self._channel
        assert channel is not None
        exchange, key = "", publish.queue
        if publish.not_before is not None:
            exchange, key = route(publish.queue, publish.not_before, self._clock.now())
        channel.publish(exchange, key, publish.content, publish.message.body)
        publish.sent = True
        self._open.add(publish)
        self._by_id[publish.message.message_id] = publish
        self._bytes += publish.size

    # What the broker says.

    def _receive(self, event: Event) -> None:
        if isinstance(event, Confirmed):
            for publish in self._open.settle(event.tag, multiple=event.multiple):
                self._settled(publish, event.accepted)
            if self._backlog:
                self.pump()
        elif isinstance(event, Returned):
            self._returned(event)

    def _settled(self, publish: Publish, accepted: bool) -> None:
        self._by_id.pop(publish.message.message_id, None)
        self._bytes -= publish.size
        if self._suspects:
            self._absolve()
        if publish.confirmed.done():
            return
        if not accepted:
            self._fail(publish, _nacked(self._label))
        elif not publish.returned:
            publish.confirmed.set_result(None)
        elif publish.mandatory:
            self._fail(publish, Unroutable(publish.queue))
        else:
            self._dropped(Outgoing(publish.message, publish.queue, mandatory=False))
            publish.confirmed.set_result(None)

    def _returned(self, event: Returned) -> None:
        try:
            publish = self._by_id.get(decode_message_id(event.content))
        except ProtocolViolation:
            return
        if publish is not None:
            publish.returned = True

    # Delays.

    def _prepare(self, publish: Publish) -> None:
        """Let a delayed publish wait until the ladder leads to its queue."""
        waiting = self._preparing.get(publish.queue)
        if waiting is not None:
            waiting.append(publish)
            return
        self._preparing[publish.queue] = [publish]
        self._spawn(self._prepared(publish.queue), "delay ladder")

    async def _prepared(self, queue: str) -> None:
        while True:
            try:
                await self._routes.prepare(queue)
                break
            except BrokerUnreachable:
                await asyncio.sleep(_PAUSE_S)  # until the connection is back; those that wait have their deadlines
            except BrokerError as error:
                for publish in self._preparing.pop(queue):
                    self._fail(publish, error)
                return
        self._backlog.extend(self._preparing.pop(queue))
        self.pump()

    def _all(self) -> chain[Publish]:
        return chain(self._open, self._backlog, chain.from_iterable(self._preparing.values()))

    def _overdue(self, publish: Publish) -> None:
        self._fail(publish, self._late(publish))
        while self._backlog and self._backlog[0].confirmed.done():
            self._backlog.popleft()

    def _late(self, publish: Publish) -> BrokerError:
        blocked = self._lifeline.blocked
        alarm = f"{self._label} takes nothing at the moment: {blocked}" if blocked else ""
        what = f"a message for queue {publish.queue!r}"
        if publish.sent:
            lost = "" if self._lifeline.current else str(self._lifeline.trouble())
            return PublishUnconfirmed(what, publish.timeout_s, reason=alarm or lost)
        if blocked:
            return BrokerBlocked(
                f"{what}: {alarm}. Nothing was stored; free the broker's disk or memory, then try again"
            )
        if self._lifeline.current is None:
            return self._lifeline.trouble()
        return BrokerBlocked(
            f"{what}: {self._label} did not take it within {publish.timeout_s:g} s; nothing was stored. "
            "The broker is overloaded: publish slower, or raise TASKQ_PUBLISH_TIMEOUT"
        )

    def _fail(self, publish: Publish, error: BrokerError) -> None:
        if not publish.confirmed.done():
            publish.confirmed.set_exception(error)
            publish.confirmed.exception()  # who gave the wait up is told by nobody

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        task = self._loop.create_task(work, name=f"taskq: {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _nacked(label: str) -> BrokerBlocked:
    return BrokerBlocked(
        f"{label} refused the message; nothing was stored. Its queue is full, or has lost most of its nodes"
    )
