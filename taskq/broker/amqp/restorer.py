"""Makes queues and exchanges exist again as the program declared them, when somebody deleted them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from taskq.broker.amqp.declared import Declared
from taskq.broker.amqp.declaring import Declarer
from taskq.broker.amqp.delays import DelayRoutes
from taskq.broker.amqp.topology import binding_spec
from taskq.errors import BrokerError, QueueMismatch, Unroutable

_TRIES, _PAUSE_S = 4, 0.05


class Restorer:
    """Restores what is in ``declared``. Implements :class:`taskq.broker.amqp.ways.Exchanges`."""

    def __init__(self, declared: Declared, declarer: Declarer, routes: DelayRoutes) -> None:
        self._declared = declared
        self._declarer = declarer
        self._routes = routes

    async def queue(self, name: str) -> None:
        """Make a queue exist with its exchanges and bindings, and let its delays find it.

        That is done whether it seems to be there or not, since RabbitMQ shows a queue for a while that is being
        deleted. One that the program did not describe is not made.
        """
        known, bindings = self._declared.queues.get(name), self._declared.bindings_to(name)
        if known is not None or bindings:
            exchanges = self._declared.exchanges_of(bindings)
            await self._declarer.declare([] if known is None else [known], exchanges, bindings)
        await self._routes.restore([name])

    def makes(self, exchange: str) -> bool:
        """Whether this program declared an exchange, and not as somebody else's."""
        known = self._declared.exchanges.get(exchange)
        return known is not None and known.declare

    async def restore(self, exchange: str) -> None:
        """Make an exchange exist with its bindings to the queues that are there.

        RabbitMQ shows an exchange for a moment that is being deleted, and then it is gone when it is to be bound.
        """
        for tries_left in reversed(range(_TRIES)):
            await self._declarer.declare([], [self._declared.exchanges[exchange]])
            try:
                await self._bind(exchange)
                break
            except BrokerError as error:
                if not tries_left or type(error) is not BrokerError:
                    raise
                await asyncio.sleep(_PAUSE_S)

    async def _bind(self, exchange: str) -> None:
        for binding in self._declared.bindings_from(exchange):
            with suppress(Unroutable, QueueMismatch):  # who consumes that queue binds it, when it is back
                await self._declarer.bind(binding_spec(binding))
