"""Bugs of the kind that the simulation is there to find, planted one at a time, and the words that find them."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from taskq.broker.protocol import Outgoing, Settlement
from taskq.broker.sqlite import claiming, subscription, sweeper
from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.broker import SqliteBroker
from taskq.broker.sqlite.consumer import SqliteConsumer
from taskq.broker.sqlite.held import Held
from taskq.broker.sqlite.packing import pack
from taskq.broker.sqlite.publishing import Publish
from taskq.client.replies import ReplyInbox
from taskq.wire.job import JobMessage
from taskq.wire.message import Message


@contextmanager
def ack_before_the_replacement() -> Iterator[None]:
    """The delivery is removed in one transaction, and what replaces it is stored in the next."""
    settled = SqliteConsumer.settle

    def settle(
        self: SqliteConsumer, message: int, claim: int, replacements: Sequence[Outgoing], *, keep_slot: bool
    ) -> Awaitable[Settlement]:
        acked = settled(self, message, claim, (), keep_slot=keep_slot)

        async def both() -> Settlement:
            settlement = await acked
            if settlement is Settlement.DONE:
                session = self._session
                for each in replacements:
                    packed = pack(each, session.clock.now())
                    await session.submitter.submit(Publish(packed, session.count_dropped), timeout_s=60.0)
            return settlement

        return both()

    with patch.object(SqliteConsumer, "settle", settle):
        yield


@contextmanager
def lease_not_checked() -> Iterator[None]:
    """A settle removes the message whoever has it by now."""

    def has(self: Held, message: int, claim: int) -> bool:
        return message in self._known()

    def settle(self: Held, message: int, claim: int) -> bool:
        if self._known().pop(message, self) is self:
            return False
        self._settled.append(message)
        return True

    with patch.object(Held, "has", has), patch.object(Held, "settle", settle):
        yield


@contextmanager
def claims_of_the_dead_stay() -> Iterator[None]:
    """Who removes a dead process forgets what it had claimed."""
    with patch.object(sweeper, "release", lambda batch, consumer: None):
        yield


@contextmanager
def closing_gives_nothing_back() -> Iterator[None]:
    """A consumer that is closed keeps what it had claimed, also what was on its way to it then."""
    with (
        patch.object(subscription, "release", lambda batch, consumer: None),
        patch.object(claiming, "hand_back", lambda batch, queue, message, claim: None),
    ):
        yield


@contextmanager
def attempts_are_forgotten() -> Iterator[None]:
    """The copy for the next attempt says that it is the first."""
    copy = JobMessage.copy

    def forgetful(self: JobMessage, *, attempt: int, **rest: Any) -> Message:
        return copy(self, attempt=1, **rest)

    with patch.object(JobMessage, "copy", forgetful):
        yield


@contextmanager
def confirmed_before_it_is_stored() -> Iterator[None]:
    """A publish is confirmed when it is written, and not when that is committed."""
    run = Publish.run

    def hasty(self: Publish, batch: Batch) -> None:
        run(self, batch)
        future = self.future
        self.loop.call_soon_threadsafe(lambda: None if future.done() else future.set_result(None))

    with patch.object(Publish, "run", hasty):
        yield


@contextmanager
def delays_are_forgotten() -> Iterator[None]:
    """A publish ignores when its message may be delivered."""
    publish = SqliteBroker.publish

    def at_once(self: SqliteBroker, outgoing: Outgoing, *, timeout_s: float) -> Any:
        return publish(self, outgoing._replace(not_before=None), timeout_s=timeout_s)

    with patch.object(SqliteBroker, "publish", at_once):
        yield


@contextmanager
def replies_to_the_oldest() -> Iterator[None]:
    """A reply goes to the caller that has waited for longest."""
    receive = ReplyInbox.receive

    def muddled(self: ReplyInbox, message: Message) -> None:
        oldest = next(iter(self._pending), message.correlation_id)
        receive(self, message._replace(correlation_id=oldest))

    with patch.object(ReplyInbox, "receive", muddled):
        yield


@contextmanager
def one_slot_too_many() -> Iterator[None]:
    """A consumer claims one message more than it may hold, and hands it over."""
    init = SqliteConsumer.__init__

    def with_one_more(self: SqliteConsumer, *args: Any, **settings: Any) -> None:
        init(self, *args, **settings)
        self._prefetch += 1

    with patch.object(SqliteConsumer, "__init__", with_one_more):
        yield


@dataclasses.dataclass(frozen=True)
class Planted:
    """A bug, and a word of what the simulation says about it."""

    plant: Callable[[], AbstractContextManager[None]]
    found: str
    by: tuple[str, ...] = ()
    """The faults that bring it out, where few seeds have enough of them."""


BUGS = [
    Planted(ack_before_the_replacement, "lost: "),
    Planted(lease_not_checked, "which had lost it", by=("long pause",)),
    Planted(claims_of_the_dead_stay, "stuck: the queues do not become empty"),
    Planted(closing_gives_nothing_back, "stuck: the queues do not become empty"),
    Planted(attempts_are_forgotten, "stuck: the queues do not become empty"),
    Planted(confirmed_before_it_is_stored, "lost: "),
    Planted(delays_are_forgotten, "ran early: "),
    Planted(replies_to_the_oldest, "wrong caller: "),
    Planted(one_slot_too_many, "deliveries with prefetch"),
]
