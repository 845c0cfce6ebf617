"""Which queues, exchanges and bindings there are, as far as RabbitMQ tells.

Where the management API answers, that is all of the virtual host. Elsewhere it is those that somebody names and that a
passive declare finds: of a queue that tells ready messages and consumers, of an exchange that it exists. Bindings are
not to be had that way.

What taskq keeps for itself is left out: reply queues, and the ladder of delays, whose parts are ``taskq.delay.…``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from taskq.broker.amqp.declaring import Counts, Declarer, exclusive
from taskq.broker.amqp.management import BindingRow, Management, NoManagement, QueueRow
from taskq.broker.amqp.patience import Patience
from taskq.broker.names import REPLY_PREFIX
from taskq.broker.protocol import ExchangeState, Listing, QueueState
from taskq.tasks.exchanges import Binding, Match
from taskq.tasks.options import HeaderValue

_LADDER = "taskq.delay."
_PASSIVELY = "passive declares"


class Catalogued(Protocol):
    """What a catalogue needs of its broker."""

    @property
    def label(self) -> str: ...

    @property
    def declarer(self) -> Declarer: ...

    @property
    def management(self) -> Management: ...

    @property
    def patience(self) -> Patience: ...

    def known_queues(self, names: Iterable[str]) -> Iterable[str]: ...


class Catalogue:
    """Behind the lists of :class:`taskq.broker.protocol.Inspector`."""

    def __init__(self, broker: Catalogued) -> None:
        self._broker = broker

    async def known(self, names: Iterable[str]) -> list[QueueState]:
        """Return the queues that this process knows, sorted by name. Raises :class:`QueueMismatch`."""
        states, locked = await self._passive(self._broker.known_queues(names))
        for name in locked:
            raise exclusive(name)
        return _sorted(states)

    async def queues(self, names: Iterable[str]) -> Listing[QueueState]:
        """Return the queues, sorted by name. Those of the ladder are there when ``names`` has them."""
        asked = frozenset(names)
        try:
            told = await self._broker.management.queues()
        except NoManagement as error:
            states, locked = await self._passive(self._broker.known_queues(asked))
            unknown = f"there may be other queues, and what is unsettled is not known: {error}"
            return Listing(_sorted(states), _PASSIVELY, _and_locked(unknown, locked))
        rows = {row.name: row for row in told.rows if not _is_ours(row.name, asked)}
        states = [state for row in rows.values() if (state := _queue_state(row)) is not None]
        younger, locked = await self._passive(rows.keys() - {state.name for state in states})
        return Listing(_sorted([*states, *younger]), _source(told.label), _and_locked(None, locked))

    async def exchanges(self, names: Iterable[str]) -> Listing[ExchangeState]:
        """Return the exchanges, sorted by name. Those of the ladder are there when ``names`` has them."""
        asked = frozenset(names)
        try:
            told = await self._broker.management.exchanges()
        except NoManagement as error:
            found = await self._broker.patience.through(lambda _: self._broker.declarer.exchanges_of(sorted(asked)))
            unknown = f"there may be other exchanges, and their kinds are not known: {error}"
            return Listing([ExchangeState(name, None, None) for name in found], _PASSIVELY, unknown)
        rows = {row.name: row for row in told.rows if row.name and not _is_ours(row.name, asked)}
        states = [ExchangeState(row.name, row.type, row.durable) for _, row in sorted(rows.items())]
        return Listing(states, _source(told.label))

    async def bindings(self) -> Listing[Binding]:
        """Return the bindings of exchanges to queues, sorted, without those of the default exchange and the ladder."""
        try:
            told = await self._broker.management.bindings()
        except NoManagement as error:
            return Listing([], _PASSIVELY, f"the bindings are not known: {error}")
        shown = (row for row in told.rows if row.source and row.destination_type == "queue")
        bindings = [_binding(row) for row in shown if not _is_ours(row.source)]
        order = sorted(bindings, key=lambda each: (each.exchange, each.queue, each.key, str(each.headers)))
        return Listing(order, _source(told.label))

    async def _passive(self, names: Iterable[str]) -> tuple[list[QueueState], list[str]]:
        """Return the queues that exist, and the names of those that other connections have to themselves."""
        wanted = sorted(names)
        found, locked = await self._broker.patience.through(
            lambda progress: self._broker.declarer.counts_of(wanted, progress)
        )
        return _states(found), locked


def _states(found: Mapping[str, Counts]) -> list[QueueState]:
    return [QueueState(name, counts.ready, None, None, counts.consumers) for name, counts in found.items()]


def _queue_state(row: QueueRow) -> QueueState | None:
    """Return the state, or ``None`` where there are no statistics yet."""
    if row.messages_ready is None or row.consumers is None:
        return None
    return QueueState(row.name, row.messages_ready, row.messages_unacknowledged, None, row.consumers)


def _binding(row: BindingRow) -> Binding:
    """Return a binding of any program. Its ``x-match`` is left among the headers when it is none of AMQP's two."""
    headers: dict[str, HeaderValue] = {
        name: value if isinstance(value, HeaderValue) else str(value) for name, value in row.arguments.items()
    }
    match: Match = "any" if headers.get("x-match") == "any" else "all"
    if headers.get("x-match") == match:
        del headers["x-match"]
    return Binding(exchange=row.source, queue=row.destination, key=row.routing_key, headers=headers, match=match)


def _is_ours(name: str, asked: Collection[str] = ()) -> bool:
    """Whether it is a reply queue, or a part of the ladder that nobody asks for."""
    return name.startswith(REPLY_PREFIX) or (name.startswith(_LADDER) and name not in asked)


def _source(label: str) -> str:
    return f"the management API at {label}"


def _sorted(states: Iterable[QueueState]) -> list[QueueState]:
    return sorted(states, key=lambda state: state.name)


def _and_locked(unknown: str | None, locked: Sequence[str]) -> str | None:
    """Add what can be said of queues that exist, and that nobody else may look at."""
    if not locked:
        return unknown
    more = (
        f"left out: {', '.join(locked)} (exclusive to other connections, so that only the management API has their "
        "numbers, some seconds after they are made)"
    )
    return f"{unknown}; {more}" if unknown else more
