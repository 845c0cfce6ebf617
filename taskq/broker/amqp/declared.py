"""What a program declared, to make it exist again when it is lost. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from taskq.tasks.exchanges import Binding, ExchangeDefinition
from taskq.tasks.queues import Queue


class Declared:
    """Queues and exchanges by their names, and bindings in their order, also those of temporary queues."""

    def __init__(self) -> None:
        self.queues: dict[str, Queue] = {}
        self.exchanges: dict[str, ExchangeDefinition] = {}
        self.bindings: list[Binding] = []

    def add(
        self,
        queues: Iterable[Queue] = (),
        exchanges: Iterable[ExchangeDefinition] = (),
        bindings: Iterable[Binding] = (),
    ) -> None:
        """Note what was declared; the last word on a name counts."""
        self.queues.update({queue.name: queue for queue in queues})
        self.exchanges.update({exchange.name: exchange for exchange in exchanges})
        self.bindings += [binding for binding in dict.fromkeys(bindings) if binding not in self.bindings]

    def forget(self, binding: Binding) -> None:
        """Note that a binding is wanted no more."""
        if binding in self.bindings:
            self.bindings.remove(binding)

    def forget_bindings_to(self, queue: str) -> None:
        """Note that a queue is gone for good."""
        self.bindings = [binding for binding in self.bindings if binding.queue != queue]

    def bindings_to(self, queue: str) -> list[Binding]:
        """The bindings of a queue."""
        return [binding for binding in self.bindings if binding.queue == queue]

    def bindings_from(self, exchange: str) -> list[Binding]:
        """The bindings of an exchange."""
        return [binding for binding in self.bindings if binding.exchange == exchange]

    def exchanges_of(self, bindings: Iterable[Binding]) -> list[ExchangeDefinition]:
        """The exchanges behind bindings, as far as they were declared."""
        names = dict.fromkeys(binding.exchange for binding in bindings)
        return [self.exchanges[name] for name in names if name in self.exchanges]
