"""Topology as method frames. Pure.

pamqp checks names by rules of its own (ASCII, at most 127 bytes for an exchange), which RabbitMQ does not have: it
takes any name of up to 255 bytes, as do we. So these frames are pamqp's without its check.

It also writes floats with half of their digits. A headers exchange would then look for another number than messages
carry, so the arguments of bindings are written by our own tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from pamqp import commands, encode

from taskq.broker.amqp.plane.tables import encode_table
from taskq.broker.amqp.topology import BindingSpec, ExchangeSpec, QueueSpec


class _ExchangeDeclare(commands.Exchange.Declare):
    def validate(self) -> None: ...


class _ExchangeBind(commands.Exchange.Bind):
    def validate(self) -> None: ...


class _QueueDeclare(commands.Queue.Declare):
    def validate(self) -> None: ...


class _QueueBind(commands.Queue.Bind):
    def validate(self) -> None: ...

    def marshal(self) -> bytes:
        return _with_table(self, super().marshal())


class _QueueUnbind(commands.Queue.Unbind):
    def validate(self) -> None: ...

    def marshal(self) -> bytes:
        return _with_table(self, super().marshal())


class _QueueDelete(commands.Queue.Delete):
    def validate(self) -> None: ...


Declaration = commands.Exchange.Declare | commands.Exchange.Bind | commands.Queue.Declare | commands.Queue.Bind


def declaration(spec: ExchangeSpec | QueueSpec | BindingSpec) -> Declaration:
    """Return the frame that makes it exist, or asks whether it is equivalent when it does."""
    match spec:
        case ExchangeSpec():
            return _ExchangeDeclare(
                exchange=spec.name, exchange_type=spec.kind, durable=spec.durable, arguments=dict(spec.arguments)
            )
        case QueueSpec():
            return _QueueDeclare(
                queue=spec.name,
                durable=spec.durable,
                exclusive=spec.exclusive,
                auto_delete=spec.auto_delete,
                arguments=dict(spec.arguments),
            )
        case BindingSpec(to_exchange=True):
            return _ExchangeBind(destination=spec.destination, source=spec.source, routing_key=spec.key)
        case BindingSpec():
            return _QueueBind(
                queue=spec.destination, exchange=spec.source, routing_key=spec.key, arguments=dict(spec.arguments)
            )
        case _:
            assert_never(spec)


def look(queue: str) -> Declaration:
    """Return the frame that asks for a queue and makes none (a passive declare)."""
    return _QueueDeclare(queue=queue, passive=True)


def look_at_exchange(exchange: str) -> Declaration:
    """Return the frame that asks for an exchange and makes none."""
    return _ExchangeDeclare(exchange=exchange, passive=True)


def unbinding(spec: BindingSpec) -> commands.Queue.Unbind:
    """Return the frame that makes the binding of a queue not exist."""
    return _QueueUnbind(
        queue=spec.destination, exchange=spec.source, routing_key=spec.key, arguments=dict(spec.arguments)
    )


def deletion(queue: str) -> commands.Queue.Delete:
    """Return the frame that deletes a queue with its messages. One that does not exist is no error."""
    return _QueueDelete(queue=queue)


def answered_once(frames: Sequence[Declaration]) -> Sequence[Declaration]:
    """Return the frames so that the broker, which keeps their order, answers the last of them only."""
    for frame in frames[:-1]:
        frame.nowait = True
    return frames


def _with_table(frame: commands.Queue.Bind | commands.Queue.Unbind, marshalled: bytes) -> bytes:
    """Return a method, whose last field is its table, with that table written again."""
    table = frame.arguments or {}
    return marshalled[: -len(encode.field_table(table))] + encode_table(table)
