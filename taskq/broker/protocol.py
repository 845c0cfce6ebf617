"""The contract that every broker keeps, in words; ``tests/conformance`` runs each promise on each broker.

**Publish.** A publish is *confirmed* when its awaitable returns: the message is stored so that it survives the death of
this process, of the workers, and (except on ``memory://``) of the broker. It starts at once, in the order of the calls.
A message for a queue that does not exist raises ``Unroutable`` and is stored nowhere. When no confirmation comes within
the timeout, ``PublishUnconfirmed`` says that it *may* be stored. A publish that raises anything else stored nothing.

**Consume.** A consumer holds at most ``prefetch`` deliveries that are not settled. Each message is with one
consumer at a time. A free consumer gets the next message; which of several free ones is not promised. Among
messages that are ready, the higher priority goes first, then the earlier publish; no order is promised once
one of them was delayed, replaced or redelivered, nor between consumers.

**Redelivery.** When a consumer closes, its process dies, or its connection is lost, its unsettled deliveries
go to another consumer, with ``redeliveries`` one higher. A death is noticed at once on the same machine (a
lease, at most 15 s, where the broker cannot see the process). A message that came back more often than its
queue's ``delivery_limit`` is moved to the dead-letter queue by the broker itself, without a record of ours.

**Settle.** ``Delivery.settle`` publishes what replaces the delivery, waits for the confirmations, and only then removes
the delivery. A crash in between makes a duplicate, never a loss (the embedded broker does both in one transaction and
makes neither). It has no deadline: it tries for as long as the delivery is ours. On a delivery that is no longer ours
(the connection, the lease or the consumer is gone) it changes nothing and returns ``LOST``: somebody else gets the job.

**Delay.** A message with ``not_before`` is never delivered before that instant of the wall clock, and within
150 ms after it on an idle machine. It waits in the broker, not in a process.

**Exchanges.** A message for an exchange goes to every queue that a binding of it names, once to each, by AMQP's rules
for its kind (:mod:`taskq.broker.routing`). One publish is one message: all queues have it when it is confirmed. That
no queue takes it is no error, unless it is ``mandatory``. What is delivered says in the headers ``taskq-exchange`` and
``taskq-key`` where it was published; copies keep them, and go to their queue alone.

**Temporary queues.** A queue of :meth:`Broker.subscribe` belongs to this process: nobody else consumes it, and it goes
with the process. After a lost connection it is made again, bound and consumed; what was published in between is missed,
and :class:`~taskq.lifecycle.SubscriptionGap` says so.

**Replies.** A reply whose queue is gone is dropped and counted, never an error. An inbox gets each reply at
most once in normal operation, twice after a crash of the replying worker.

**Not promised.** Exactly-once execution; an order between consumers; a rotation; that a dead process on
*another* machine is noticed faster than its lease or heartbeat.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from taskq.tasks.exchanges import Binding, ExchangeDefinition, TemporaryQueue
from taskq.tasks.queues import Queue
from taskq.wire.message import Message


class Outgoing(NamedTuple):
    """A message and where it goes.

    ``not_before``: seconds since the epoch, or ``None`` for at once. ``mandatory=False``: no queue is no
    error; the message is dropped and counted (replies). ``exchange``: with one, ``queue`` is the routing key, and there
    is no ``not_before``.
    """

    message: Message
    queue: str
    not_before: float | None = None
    mandatory: bool = True
    exchange: str = ""


class Settlement(Enum):
    """What became of a settle."""

    DONE = "done"
    LOST = "lost"


class Delivery(Protocol):
    """A message handed to a consumer, to be settled exactly once. It has a slot until then, also when it is lost."""

    @property
    def message(self) -> Message: ...

    @property
    def queue(self) -> str: ...

    @property
    def redeliveries(self) -> int:
        """How often this copy was delivered before without being settled."""
        ...

    async def settle(self, replacements: Sequence[Outgoing] = (), *, keep_slot: bool = False) -> Settlement:
        """Publish ``replacements`` and remove the delivery, in the safe order; see the module.

        It frees the consumer's slot for the next delivery, or with ``keep_slot`` only when :meth:`release_slot` is
        called (a thread that cannot be stopped still runs). Cancelling the wait leaves the effect open.
        """
        ...

    def release_slot(self) -> None:
        """Free the slot that a settle kept. Calling it twice is harmless."""
        ...

    async def give_back(self) -> Settlement:
        """Settle it by putting it back, as often delivered as before, anywhere in the order: a crash loses nothing.

        Raises :class:`BrokerError` where the broker does not take it; then it can be settled in another way.
        """
        ...

    async def is_ours(self) -> bool:
        """Say whether it can still be settled, as far as the broker can tell."""
        ...


class Consumer(Protocol):
    """An open subscription to one queue."""

    async def set_prefetch(self, prefetch: int) -> None:
        """Take no delivery from now on while it holds so many; 0: none, until it is called again.

        Until it returns some may still come. Then the broker has also taken note of what was settled before the call.
        """
        ...

    async def stop(self) -> None:
        """Take no further delivery. Until it returns some may still come; those handed over can be settled."""
        ...

    async def close(self) -> None:
        """Stop, and give unsettled deliveries back: they are redelivered to others. Twice is harmless.

        It waits a moment for that, and no longer: a broker that does not answer holds no worker's exit.
        """
        ...


class Inbox(Protocol):
    """A reply queue of this process. It is taken down with the broker."""

    @property
    def address(self) -> str:
        """The name to put into ``reply_to``."""
        ...


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue as the broker sees it. ``consumers`` counts open consumers of all processes.

    ``unsettled`` and ``delayed`` are ``None`` where the broker does not tell a client (RabbitMQ).
    """

    name: str
    ready: int
    unsettled: int | None
    delayed: int | None
    consumers: int


@dataclass(frozen=True, slots=True)
class ExchangeState:
    """An exchange as the broker sees it. ``kind`` and ``durable`` are ``None`` where it does not tell."""

    name: str
    kind: str | None
    durable: bool | None


Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Listing(Generic[Item]):
    """What a broker tells of its queues, exchanges or bindings.

    ``source``: where it is from, for people ("the management API at http://…"). ``unknown``: what could not be known,
    and why, for people; ``None`` when this is all there is.
    """

    items: list[Item]
    source: str
    unknown: str | None = None


class Inspector(Protocol):
    """Looking at queues, and taking single messages out of them, beside the consumers."""

    async def queues(self, names: Iterable[str] = ()) -> list[QueueState]:
        """Return every work and dead-letter queue, sorted by name. Reply queues are left out.

        RabbitMQ does not list queues to a client: there, those of ``names`` that exist, those that this process
        declared or used, and the dead-letter queues of both.
        """
        ...

    async def browse(self, queue: str, *, limit: int) -> list[Message]:
        """Return up to ``limit`` messages of ``queue``, the oldest first, and leave them there.

        On RabbitMQ that takes them and gives them back, which counts as a redelivery of each. Raises
        :class:`Unroutable` when there is no such queue.
        """
        ...

    async def rework(self, queue: str, decide: Callable[[Message], Sequence[Outgoing] | None]) -> int:
        """Offer each message of ``queue`` to ``decide``, once.

        ``None`` leaves it; a sequence settles it with these replacements (an empty one drops it). Safe order
        as in a settle. ``decide`` may run in another thread. Returns how many were settled. Raises
        :class:`Unroutable`.
        """
        ...

    async def list_queues(self, names: Iterable[str] = ()) -> Listing[QueueState]:
        """Return all queues of the broker (on RabbitMQ: of the virtual host), sorted by name, as far as it tells.

        Slower than :meth:`queues`: RabbitMQ is asked by its management API where that answers, else as there.
        """
        ...

    async def list_exchanges(self, names: Iterable[str] = ()) -> Listing[ExchangeState]:
        """Return all exchanges, sorted by name, as far as the broker tells; else those of ``names`` that exist."""
        ...

    async def list_bindings(self) -> Listing[Binding]:
        """Return all bindings of exchanges to queues, sorted; the default exchange's are left out."""
        ...


class Broker(Protocol):
    """A connection to one broker, for one process. It is entered once, as an async context manager.

    Entering raises ``BrokerUnreachable`` or ``AccessRefused`` within its connect timeout. Leaving closes all
    consumers and inboxes first. All methods run on the event loop that entered it.
    """

    @property
    def label(self) -> str:
        """Its URL for people: absolute, password redacted."""
        ...

    @property
    def ack_timeout_s(self) -> float | None:
        """After how many seconds without a settle the broker takes a delivery away; ``None``: it never does."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def declare(
        self,
        queues: Iterable[Queue],
        *,
        exchanges: Iterable[ExchangeDefinition] = (),
        bindings: Iterable[Binding] = (),
    ) -> None:
        """Make these queues, their dead-letter queues, exchanges and bindings exist. Repeating it is harmless.

        A queue with ``declare=False`` is only checked, and :class:`Unroutable` raised when it does not exist; its
        dead-letter queue is ours and is made all the same. Raises :class:`QueueMismatch` when one exists with other
        arguments, :class:`ExchangeMismatch` when an exchange does, and :class:`BrokerError` for one with
        ``declare=False`` that does not exist. Bindings that are not named here stay.
        """
        ...

    async def unbind(self, binding: Binding) -> None:
        """Make a binding not exist; one that does not exist is no error."""
        ...

    def publish(self, outgoing: Outgoing, *, timeout_s: float) -> Future[None]:
        """Start to publish and return the confirmation to wait for; see the module for what it promises.

        Cancelling it withdraws what has not been sent yet. An error that nobody waits for is no error of its own.
        """
        ...

    async def consume(self, queue: str, *, prefetch: int, deliver: Callable[[Delivery], None]) -> Consumer:
        """Open a consumer. ``deliver`` is called on the event loop for each delivery; it must not block or raise.

        Raises :class:`Unroutable` when there is no such queue.
        """
        ...

    async def subscribe(self, queue: TemporaryQueue, *, prefetch: int, deliver: Callable[[Delivery], None]) -> Consumer:
        """Make a temporary queue, bind it, and consume it, as :meth:`consume` does; see the module.

        Its bindings hold when this returns. Raises :class:`BrokerError` when an exchange does not exist.
        """
        ...

    async def open_inbox(self, receive: Callable[[Message], None]) -> Inbox:
        """Open a reply queue of this process; ``receive`` is called on the event loop for each reply."""
        ...

    @property
    def inspector(self) -> Inspector: ...
