"""Publishes, confirmed: pipelined, in order, each with its deadline, over connections that come and go.

Theory of operation. A publish goes out at once when the channel is there and has room in its window; else it waits in
the backlog, in order. It is open until the broker confirms it. A publish that no queue takes comes back *before* its
confirm and is found by its message id. When the channel is lost, what was sent and not confirmed goes back to the head
of the backlog as another copy with a message id of its own, so that a late return of the first cannot be mistaken.

The broker answers a publish that it cannot carry out (too large for it, no permission) by closing the channel, and does
not say which one it was; :mod:`~taskq.broker.amqp.suspects` finds it, and only its caller gets the error. An exchange
of this program's that is not there is made again, and what was for it waits for that.

A channel that refused a message is replaced (:mod:`~taskq.broker.amqp.replacement`). What is wrong with a message ends
its own publish. A fault of ours is told, and ends channel or connection.

What is published in one turn of the loop leaves in one write, since the broker flushes its disk for each that comes
alone. But a publish that finds nothing in flight leaves at once (Nagle's rule): it may be the only one.

The window bounds what is in flight, in messages and in bytes; one message that is larger than that goes alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import chain
from math import inf

from pamqp import commands

from taskq.broker.amqp.backlog import Backlog
from taskq.broker.amqp.deadlines import Deadlines
from taskq.broker.amqp.delays import DelayRoutes, route
from taskq.broker.amqp.lifeline import Lifeline
from taskq.broker.amqp.link import Link
from taskq.broker.amqp.outbox import Publish, failed
from taskq.broker.amqp.outcomes import crashed, late, nacked, refused, unsendable
from taskq.broker.amqp.plane.confirms import ConfirmLedger
from taskq.broker.amqp.plane.events import Confirmed, Event, Returned
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.plane.properties import decode_message_id
from taskq.broker.amqp.refusals import missing_exchange
from taskq.broker.amqp.replacement import Replacement
from taskq.broker.amqp.suspects import Suspects
from taskq.broker.amqp.ways import Exchanges, Ways
from taskq.broker.protocol import Outgoing
from taskq.clock import Clock
from taskq.errors import BrokerError, BrokerUnreachable, Unroutable, UsageError

_WINDOW = 4096  # messages
_WINDOW_BYTES = 16 << 20
_PAUSE_S = 0.05
_FAULT_PAUSE_S = 1.0
_CLOSE_S = 5.0
_NOT_FOUND = 404


class Publisher:
    """The publishing half of a broker. ``dropped`` is told of messages that were not mandatory and had no queue."""

    def __init__(
        self,
        lifeline: Lifeline,
        routes: DelayRoutes,
        exchanges: Exchanges,
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
        self._ended = asyncio.Event()  # the channel is gone, or refused a message
        self._replacement = Replacement()
        self._open: ConfirmLedger[Publish] = ConfirmLedger()
        self._by_id: dict[str, Publish] = {}
        self._bytes = 0
        self._suspects: Suspects[Publish] = Suspects(_WINDOW)
        self._backlog = Backlog(left=self._suspects.absolve)
        self._exchanges = exchanges
        self._ways = Ways(routes, exchanges, go_on=self._go_on)
        self._keeper: asyncio.Task[None] | None = None
        self._deadlines = Deadlines(self._all, self._overdue, self._look)
        self._closed = False

    def start(self) -> None:
        """Begin to keep a channel open."""
        self._keeper = self._loop.create_task(self._live(), name="taskq: publisher")

    def publish(self, outgoing: Outgoing, timeout_s: float | None) -> asyncio.Future[None]:
        """Start to publish; see :meth:`Broker.publish`. Without a timeout it goes on as long as the broker is open.

        It never raises for what the message contains: that error is the future's, too.
        """
        confirmed: asyncio.Future[None] = self._loop.create_future()
        deadline = inf if timeout_s is None else self._loop.time() + timeout_s
        if self._closed:
            return failed(confirmed, BrokerUnreachable(f"{self._label} was closed by this program"))
        now = self._clock.now()
        try:
            publish = Publish(outgoing, confirmed, deadline, inf if timeout_s is None else timeout_s, now)
        except UsageError as error:
            return failed(confirmed, error)
        if publish.not_before is not None:
            publish.due = self._loop.time() + publish.not_before - now
        if (publish.not_before is not None and not self._routes.ready(publish.queue)) or (
            publish.exchange and self._ways.waits_for(publish.exchange)
        ):
            self._ways.wait(publish)
        elif self._backlog or not self._has_room(publish):
            self._backlog.append(publish)
        else:
            self._send(publish)
        self._deadlines.watch(deadline)
        return confirmed

    def pump(self) -> None:
        """Send what waits, as far as there is room. Called when something changed that made it wait."""
        backlog = self._backlog
        while (publish := backlog.next) is not None and self._has_room(publish):
            self._send(backlog.take())

    async def close(self) -> None:
        """Let what is open be confirmed, as long as that is to be expected, and end. Harmless twice."""
        self._closed = True
        waiting = [publish.confirmed for publish in self._all()]
        if waiting and (self._channel is not None or len(self._open)):
            await asyncio.wait(waiting, timeout=_CLOSE_S)
        await self._ways.close()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._channel is not None and self._link is not None and self._link.alive:
            await self._channel.close_within(_CLOSE_S)
        for publish in list(self._all()):
            self._overdue(publish)
        self._deadlines.close()

    # The channel.

    async def _live(self) -> None:
        while True:
            link = await self._lifeline.link()
            try:
                await self._publish_over(link)
            except ChannelGone:
                await asyncio.sleep(_PAUSE_S if link.alive else 0)
            except Exception as error:
                link.plane.tell("to publish, and does so over another connection", error)
                link.plane.abort(f"publishing failed: {error!r}")
                await asyncio.sleep(_FAULT_PAUSE_S)

    async def _publish_over(self, link: Link) -> None:
        """Open a channel, and return when it is gone. Raises :class:`ChannelGone` when it cannot be opened."""
        self._ended.clear()
        channel = await link.hot_channel(self._receive, self._gone)
        await channel.call(commands.Confirm.Select())
        if self._link is not link:
            self._routes.forget()
        self._link, self._channel = link, channel
        self.pump()
        await self._ended.wait()
        await self._replacement.leave(link, channel, self._open)

    def _replace(self) -> None:
        """Send no more on this channel, so that another one is opened."""
        if self._channel is not None and self._replacement.due:
            self._channel = None
            self._ended.set()

    def _gone(self, gone: ChannelGone) -> None:
        """Take back what was sent and not confirmed."""
        self._ended.set()
        self._channel = None
        in_flight = self._open.take_all()
        left = [publish for publish in in_flight if not publish.confirmed.done()]
        again = bool(in_flight) and in_flight[0].unsure
        self._open = ConfirmLedger()
        self._by_id.clear()
        self._bytes = 0
        for publish in left:
            publish.renew(unsure=not gone.code)
        exchange = missing_exchange(gone.text)
        if exchange is not None and self._exchanges.makes(exchange):
            left = self._left_for_others(left, exchange)
        elif gone.text.startswith("INTERNAL_ERROR"):
            if self._suspects.crashed(in_flight, left):
                self._drop_or_fail(left.pop(), crashed(in_flight[0], self._label))
        elif gone.code and self._suspects.closed(in_flight, left):
            left = []
            self._convict(in_flight[0], gone, again=again)
        self._backlog.put_back(left)

    def _left_for_others(self, left: list[Publish], exchange: str) -> list[Publish]:
        """Let what is for an exchange wait until that is made again, and return the rest."""
        theirs = [publish for publish in left if publish.exchange == exchange]
        for publish in theirs + self._backlog.take_all(exchange):
            self._suspects.absolve(publish)
            self._ways.wait(publish)
        return [publish for publish in left if publish.exchange != exchange]

    def _convict(self, publish: Publish, gone: ChannelGone, *, again: bool) -> None:
        """Give the error to the publish that the broker closed the channel for; ``again``: a copy was sent before."""
        self._suspects.absolve(publish)
        if publish.not_before is not None and gone.code == _NOT_FOUND:
            self._routes.forget()  # the ladder was deleted
            self._ways.wait(publish)
            return
        publish.fail(refused(publish, gone.text, self._label, again=again))

    def _has_room(self, publish: Publish) -> bool:
        channel, link, count = self._channel, self._link, len(self._open)
        if channel is None or link is None:
            return False
        plane = link.plane
        if not plane.writable or plane.blocked is not None or count >= self._suspects.window:
            return False
        return not count or self._bytes + publish.size <= _WINDOW_BYTES

    def _send(self, publish: Publish) -> None:
        channel = self._channel
        assert channel is not None
        exchange, key = publish.exchange, publish.queue
        # To the default exchange always: a reply that no queue takes is counted.
        mandatory = publish.mandatory or not publish.exchange
        try:
            if publish.not_before is not None:
                exchange, key = route(publish.queue, publish.due - self._loop.time())
            idle = not self._open
            channel.publish(exchange, key, publish.content, publish.message.body, mandatory=mandatory, now=idle)
        except Exception as error:  # it is in no list now: whatever it is, its caller has to be told
            publish.fail(unsendable(publish, error))
            return
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
        self._suspects.absolve(publish)
        if publish.confirmed.done():
            return
        if not accepted:
            publish.fail(nacked(publish, self._label))
            self._replace()
        elif not publish.returned:
            publish.confirmed.set_result(None)
        else:
            self._drop_or_fail(publish, Unroutable(publish.queue, publish.exchange))

    def _drop_or_fail(self, publish: Publish, error: BrokerError) -> None:
        if publish.mandatory or publish.exchange:
            publish.fail(error)
            return
        self._dropped(Outgoing(publish.message, publish.queue, mandatory=False))
        publish.confirmed.set_result(None)

    def _returned(self, event: Returned) -> None:
        publish = self._by_id.get(decode_message_id(event.content))
        if publish is not None:
            publish.returned = True

    def _go_on(self, waited: Sequence[Publish]) -> None:
        """Send what waited for its way."""
        for publish in waited:
            self._backlog.append(publish)
        self.pump()

    # Ends.

    def _all(self) -> chain[Publish]:
        return chain(self._open, self._backlog, self._ways)

    def _look(self) -> None:
        self._backlog.look()
        self._ways.look()

    def _overdue(self, publish: Publish) -> None:
        lifeline = self._lifeline
        trouble = None if lifeline.current else lifeline.trouble()
        publish.fail(late(publish, self._label, blocked=lifeline.blocked, trouble=trouble))
