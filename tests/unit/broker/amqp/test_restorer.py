"""Exchanges that are made again, while RabbitMQ may still be deleting them."""

from typing import Any, cast

import pytest

from taskq.broker.amqp.declared import Declared
from taskq.broker.amqp.declaring import Declarer
from taskq.broker.amqp.restorer import Restorer
from taskq.errors import AccessRefused, BrokerError
from taskq.tasks.exchanges import Binding, ExchangeDefinition


class Broker:
    """Declares without a word; its bindings fail with `errors`, the first one first."""

    def __init__(self, *errors: BrokerError) -> None:
        self.errors = list(errors)
        self.declared = self.bound = 0

    async def declare(self, *what: Any) -> None:
        self.declared += 1

    async def bind(self, binding: object) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.bound += 1

    async def restore(self) -> None:
        declared = Declared()
        declared.add(
            (), [ExchangeDefinition(name="logs", kind="topic")], [Binding(exchange="logs", queue="q", key="#")]
        )
        await Restorer(declared, cast("Declarer", self), cast("Any", None)).restore("logs")


async def test_one_that_is_gone_when_it_is_bound_is_made_once_more() -> None:
    broker = Broker(BrokerError("exchange 'logs' does not exist"))
    await broker.restore()
    assert (broker.declared, broker.bound) == (2, 1)


async def test_that_is_not_tried_for_ever_and_a_missing_permission_not_again() -> None:
    broker = Broker(*(BrokerError("exchange 'logs' does not exist") for _ in range(9)))
    with pytest.raises(BrokerError, match="does not exist"):
        await broker.restore()
    assert broker.declared == 4
    refused = Broker(AccessRefused("no"))
    with pytest.raises(AccessRefused):
        await refused.restore()
    assert refused.declared == 1
