"""Topology as method frames. Pure.

pamqp checks names by rules of its own (ASCII, at most 127 bytes for an exchange), which RabbitMQ does not have: it
takes any name of up to 255 bytes, as do we. So these frames are pamqp's without its check.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from pamqp import commands

from taskq.broker.amqp.topology import Binding, ExchangeSpec, QueueSpec


class _ExchangeDeclare(commands.Exchange.Declare):
    def validate(self) -> None: ...


class _ExchangeBind(commands.Exchange.Bind):
    def validate(self) -> None: ...


class _QueueDeclare(commands.Queue.Declare):
    def validate(self) -> None: ...


class _QueueBind(commands.Queue.Bind):
    def validate(self) -> None: ...


class _QueueDelete(commands.Queue.Delete):
    def validate(self) -> None: ...


Declaration = commands.Exchange.Declare | commands.Exchange.Bind | commands.Queue.Declare | commands.Queue.Bind


def declaration(spec: ExchangeSpec | QueueSpec | Binding) -> Declaration:
    """Return the frame that makes it exist, or asks whether it is equivalent when it does."""
    match spec:
        case ExchangeSpec():
            return _ExchangeDeclare(
                exchange=spec.name, exchange_type=spec.kind, durable=True, arguments=dict(spec.arguments)
            )
        case QueueSpec():
            return _QueueDeclare(
                queue=spec.name,
                durable=spec.durable,
                exclusive=spec.exclusive,
                auto_delete=spec.auto_delete,
                arguments=dict(spec.arguments),
            )
        case Binding(to_exchange=True):
            return _ExchangeBind(destination=spec.destination, source=spec.source, routing_key=spec.key)
        case Binding():
            return _QueueBind(queue=spec.destination, exchange=spec.source, routing_key=spec.key)
        case _:
            assert_never(spec)


def look(queue: str) -> Declaration:
    """Return the frame that asks for a queue and makes none (a passive declare)."""
    return _QueueDeclare(queue=queue, passive=True)


def deletion(queue: str) -> commands.Queue.Delete:
    """Return the frame that deletes a queue with its messages. One that does not exist is no error."""
    return _QueueDelete(queue=queue)


def answered_once(frames: Sequence[Declaration]) -> Sequence[Declaration]:
    """Return the frames so that the broker, which keeps their order, answers the last of them only."""
    for frame in frames[:-1]:
        frame.nowait = True
    return frames
