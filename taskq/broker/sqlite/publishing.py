"""The operation behind ``Broker.publish``."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from taskq.broker.protocol import Outgoing
from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.operation import Operation
from taskq.broker.sqlite.packing import PackedMessage


class Publish(Operation[None]):
    """Store one message."""

    __slots__ = ("_dropped", "_is_dropped", "_packed")

    sends = True

    def __init__(self, packed: PackedMessage, dropped: Callable[[Iterable[Outgoing]], None]) -> None:
        self._packed = packed
        self._dropped = dropped
        self._is_dropped = False

    @property
    def what(self) -> str:
        if exchange := self._packed.outgoing.exchange:
            return f"a publish to exchange {exchange!r}"
        return f"a publish to queue {self._packed.queue!r}"

    def run(self, batch: Batch) -> None:
        self._is_dropped = not batch.put(self._packed)

    def resolve(self, result: None) -> None:
        if self._is_dropped:
            self._dropped([self._packed.outgoing])
        super().resolve(result)
