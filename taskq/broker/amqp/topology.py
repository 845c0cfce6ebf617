"""What a program needs on RabbitMQ, as data: exchanges, queues and bindings. Pure; ``declaring`` makes them exist.

The arguments of a work queue follow from its declaration alone, never from a retry policy, so that a new version of a
program meets no mismatch. ``docs/reference/topology.md`` has the whole list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from taskq.broker.names import dead_queue
from taskq.tasks.exchanges import Binding, ExchangeDefinition, ExchangeKind, TemporaryQueue
from taskq.tasks.queues import Queue

Argument = str | int | float | bool
Arguments = Mapping[str, Argument]

# How often a message of a queue without a limit of its own may come back. Looking at a dead letter puts it back, which
# counts, and RabbitMQ 4 drops a message after 20 times when nothing is said. Its word for "no limit" is -1, which 3.10
# takes for a limit that is reached at once.
NEVER_DROPPED = 1_000_000_000
REPLY_LIFE_MS = 600_000


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue. ``exclusive``: of one connection, and gone with it."""

    name: str
    durable: bool = True
    arguments: Arguments = field(default_factory=dict[str, Argument])
    exclusive: bool = False
    auto_delete: bool = False


@dataclass(frozen=True, slots=True)
class ExchangeSpec:
    """An exchange. ``durable``: it outlives the broker's restart."""

    name: str
    kind: ExchangeKind
    arguments: Arguments = field(default_factory=dict[str, Argument])
    durable: bool = True


@dataclass(frozen=True, slots=True)
class BindingSpec:
    """What an exchange (``source``) passes on to a queue, or to another exchange. ``key`` is the binding key.

    ``arguments`` are the header values that a headers exchange looks for, and ``x-match``, how.
    """

    source: str
    destination: str
    key: str = ""
    to_exchange: bool = False
    arguments: Arguments = field(default_factory=dict[str, Argument], hash=False)


@dataclass(frozen=True, slots=True)
class Topology:
    """Things to declare, in this order: exchanges, queues, bindings."""

    exchanges: tuple[ExchangeSpec, ...] = ()
    queues: tuple[QueueSpec, ...] = ()
    bindings: tuple[BindingSpec, ...] = ()

    def __add__(self, other: Topology) -> Topology:
        return Topology(self.exchanges + other.exchanges, self.queues + other.queues, self.bindings + other.bindings)


def exchange_spec(exchange: ExchangeDefinition) -> ExchangeSpec:
    """Return an exchange of the program's as RabbitMQ takes it."""
    return ExchangeSpec(exchange.name, exchange.kind, exchange.arguments, exchange.durable)


def binding_spec(binding: Binding) -> BindingSpec:
    """Return a binding of the program's as RabbitMQ takes it."""
    arguments: Arguments = {**binding.headers, "x-match": binding.match} if binding.headers else {}
    return BindingSpec(binding.exchange, binding.queue, binding.key, arguments=arguments)


def temporary_queue(queue: TemporaryQueue) -> QueueSpec:
    """Return a queue that goes with its connection. It is classic: quorum queues belong to no connection."""
    arguments: Arguments = {
        "x-queue-type": "classic",
        "x-max-length": queue.limit,
        "x-overflow": queue.overflow,
    }
    return QueueSpec(queue.name, durable=False, exclusive=True, arguments=arguments)


def queue_specs(queue: Queue) -> tuple[QueueSpec, ...]:
    """Return the queues of ours behind ``queue``, in the order to make them: where dead letters go comes first.

    A queue with ``declare=False`` is somebody else's; only its dead-letter queue is ours.
    """
    dead = kept_queue(queue.dead)
    return (dead, _work_queue(queue)) if queue.declare else (dead,)


def kept_queue(name: str, **arguments: Argument) -> QueueSpec:
    """Return a quorum queue that never drops a message for having been looked at too often.

    ``arguments``: further ones, without their ``x-`` and with ``_`` for ``-``.
    """
    further = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
    return QueueSpec(name, arguments={"x-queue-type": "quorum", "x-delivery-limit": NEVER_DROPPED, **further})


def reply_queue(name: str) -> QueueSpec:
    """Return the reply queue of one client process.

    Durable, since RabbitMQ gives up on queues that are neither durable nor exclusive; not exclusive, so that the
    process finds it again after it lost its connection. One consumer is active at a time, so the new one may come
    before the broker has noticed the old one's end. It goes after 10 minutes without any.
    """
    arguments: Arguments = {
        "x-queue-type": "classic",
        "x-expires": REPLY_LIFE_MS,
        "x-single-active-consumer": True,
    }
    return QueueSpec(name, arguments=arguments)


def _work_queue(queue: Queue) -> QueueSpec:
    if queue.arguments is not None:
        return QueueSpec(queue.name, durable=queue.durable, arguments=queue.arguments)
    dead_letters: Arguments = {
        # The type is always said: a virtual host may have a default of its own.
        "x-queue-type": queue.type,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead_queue(queue.name),
    }
    own: Arguments
    if queue.type == "quorum":
        own = {
            "x-delivery-limit": queue.delivery_limit,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",  # without it the strategy is at-most-once, in silence
        }
    else:
        own = {"x-max-priority": queue.max_priority} if queue.max_priority else {}
    return QueueSpec(queue.name, durable=queue.durable, arguments={**dead_letters, **own})
