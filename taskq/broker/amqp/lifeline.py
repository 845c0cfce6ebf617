"""Keeps one connection to the broker open: opens it, notices its end, and opens it again.

Theory of operation. Who needs the connection asks for it when it needs it, and again when the one it had is gone;
nobody is called back into. All hosts are tried in their order, at once; after a loss the host that was lost comes last,
for one that fell silent takes seconds to be given up again. When none answers, the next round comes after a pause that
doubles from 50 ms up to 0.8 s, each shortened by up to a half at random, so that a thousand workers do not knock
together. A refusal (password, virtual host, permission) ends the first opening, and so does TLS that fails on every
host; later on both are tried again like anything else, for it may be a broker that is just being set up, or one whose
certificate is just being renewed. So is an error that nobody foresaw: without its keeper the connection would never
come back. The first opening is one for all who need it. Whoever waits for the connection
when it is closed for good gets an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from taskq.broker.amqp.faults import is_final
from taskq.broker.amqp.link import Link
from taskq.broker.amqp.location import Location
from taskq.errors import AccessRefused, BrokerError, BrokerUnreachable
from taskq.lifecycle import BrokerAlarmed, BrokerAlarmEnded, BrokerConnected, BrokerLost, Event
from taskq.opening import Opening

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 0.8
_LONGEST_TRY_S = 5.0


class Way(NamedTuple):
    """How to get to the broker. Times are seconds; ``program`` is shown by the broker with each connection."""

    location: Location
    program: str
    heartbeat_s: int
    connect_timeout_s: float
    emit: Callable[[Event], None]
    rng: Random


class Lifeline:
    """One connection that comes back. ``role`` says what it is for. ``on_change`` is called when it was lost, opened,
    blocked or unblocked."""

    def __init__(self, way: Way, role: str, on_change: Callable[[], None] = lambda: None) -> None:
        self._way = way
        self._role = role
        self._on_change = on_change
        self._link: Link | None = None
        self._last: str | None = None
        self._connected = asyncio.Event()
        self._error: BrokerError | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._first = Opening(self._begin, name=f"taskq: first {role} connection", closed=self._gone_for_good)
        self._was_blocked = False
        self._closed = False

    @property
    def current(self) -> Link | None:
        """The connection, while it is there."""
        return self._link if self._link is not None and self._link.alive else None

    @property
    def blocked(self) -> str | None:
        """The broker's reason, while an alarm keeps it from taking publishes."""
        return self._link.plane.blocked if self._link is not None and self._link.alive else None

    @property
    def started(self) -> bool:
        """Whether it was ever opened."""
        return self._keeper is not None

    def trouble(self) -> BrokerError:
        """Return what keeps the connection from being there."""
        return self._error or BrokerUnreachable(f"{self._way.location.label} cannot be reached: no answer yet")

    async def start(self) -> None:
        """Open it for the first time, and keep it from then on; harmless when it is kept already.

        Raises :class:`AccessRefused` at once, :class:`BrokerUnreachable` when no host answered in time, and at once for
        TLS that cannot be agreed upon.
        """
        await self._first.result()

    async def link(self) -> Link:
        """Return the connection, waiting until it is there.

        Raises as :meth:`start`, and :class:`BrokerUnreachable` when it is closed meanwhile.
        """
        await self.start()
        while not self._closed:
            if (link := self.current) is not None:
                return link
            self._connected.clear()
            await self._connected.wait()
        raise self._gone_for_good()

    async def close(self) -> None:
        """Close it for good. Harmless twice, and after an abort."""
        self._end()
        await self._first.close()
        if self._keeper is not None:
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._link is not None:
            await self._link.close()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def abort(self) -> None:
        """End it at once, without a word to the broker. A close after that takes no time."""
        self._end()
        if self._link is not None:
            self._link.abort("this program was stopped while it closed it")

    def _end(self) -> None:
        self._closed = True
        self._connected.set()
        self._first.abort()
        if self._keeper is not None:
            self._keeper.cancel()

    def _gone_for_good(self) -> BrokerUnreachable:
        return BrokerUnreachable(f"the connection to {self._way.location.label} was closed by this program")

    async def _begin(self) -> None:
        try:
            async with asyncio.timeout(self._way.connect_timeout_s):
                self._attach(await self._open(refusal_ends=True), again=False)
        except TimeoutError:
            raise self.trouble() from None
        self._keeper = asyncio.create_task(self._keep(), name=f"taskq: {self._role} connection")

    async def _keep(self) -> None:
        while True:
            link = self._link
            assert link is not None
            reason = await asyncio.shield(link.plane.lost)
            self._lost(link, reason)
            self._attach(await self._open(), again=True)

    def _lost(self, link: Link, reason: str) -> None:
        label = self._way.location.label
        self._error = BrokerUnreachable(f"the connection to {label} was lost ({reason}); taskq connects again")
        self._way.emit(BrokerLost(label=label, role=self._role, reason=reason))
        if self._was_blocked:
            self._changed()
        # It is dead; what aio-pika still does about that is not waited for.
        closing = asyncio.create_task(link.close(), name="taskq: end of a lost connection")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._on_change()

    def _attach(self, link: Link, *, again: bool) -> None:
        self._link = link
        self._error = None
        link.plane.on_change = self._changed
        self._connected.set()
        self._way.emit(BrokerConnected(label=self._way.location.label, role=self._role, again=again))
        self._changed()

    def _changed(self) -> None:
        label, blocked = self._way.location.label, self.blocked
        if blocked is not None and not self._was_blocked:
            self._was_blocked = True
            self._way.emit(BrokerAlarmed(label=label, reason=blocked))
        elif blocked is None and self._was_blocked:
            self._was_blocked = False
            self._way.emit(BrokerAlarmEnded(label=label))
        self._on_change()

    async def _open(self, *, refusal_ends: bool = False) -> Link:
        pause_s = _FIRST_PAUSE_S
        while True:
            all_final = True
            for address in sorted(self._way.location.addresses, key=lambda each: each == self._last):
                try:
                    return await self._try(address)
                except AccessRefused as error:
                    self._error = error
                    if refusal_ends:
                        raise
                except BrokerError as error:
                    self._error = error
                    all_final = all_final and is_final(error)
                except Exception as error:
                    self._error = BrokerUnreachable(f"{self._way.location.label} cannot be reached: {error!r}")
                    all_final = False
                _stop_if_cancelled()
            if refusal_ends and all_final:
                raise self.trouble()
            await asyncio.sleep(pause_s * self._way.rng.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _try(self, address: str) -> Link:
        way = self._way
        link = await Link.open(
            address,
            label=way.location.label,
            name=f"{way.program} ({self._role})",
            heartbeat_s=way.heartbeat_s,
            timeout_s=min(_LONGEST_TRY_S, way.connect_timeout_s),
        )
        self._last = address
        return link


def _stop_if_cancelled() -> None:
    """Raise the cancellation, or the end of the time, that the client library has made another error of."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
