"""A job that is to run alone, on RabbitMQ, when the connection is lost meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from taskq.lifecycle import BrokerConnected, DeliveryLost, JobIsolated
from tests.support.crowd import Crowd
from tests.support.shop import working
from tests.support.tcpproxy import TcpProxy
from tests.support.waiting import until

pytestmark = pytest.mark.broker_problems("not_found")  # how RabbitMQ is asked whether a queue exists


@asynccontextmanager
async def behind_a_proxy(amqp_url: str) -> AsyncIterator[tuple[Crowd, TcpProxy]]:
    parts = urlsplit(amqp_url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with TcpProxy(parts.hostname, parts.port) as proxy:
        shop = Crowd(url=parts._replace(netloc=f"guest:guest@127.0.0.1:{proxy.port}").geturl())
        async with shop.app:
            yield shop, proxy


def reconnected(shop: Crowd) -> bool:
    return any(event.again and event.role == "consume" for event in shop.told(BrokerConnected))


async def test_a_suspect_whose_delivery_is_lost_while_it_waits_is_not_run_until_it_comes_again(amqp_url: str) -> None:
    async with behind_a_proxy(amqp_url) as (shop, proxy):
        await shop.suspects("suspect")
        await shop.first("neighbour")
        worker = shop.app.worker(concurrency=5)
        async with working(worker) as running:
            await until(lambda: shop.told(JobIsolated))
            assert shop.inside == ["neighbour"]
            proxy.cut()
            await until(lambda: reconnected(shop))
            assert shop.inside == ["neighbour"], "nothing new comes while the suspect waits for its turn"
            shop.open("neighbour")
            await until(lambda: shop.told(DeliveryLost))
            await until(lambda: shop.inside == ["suspect"])
            shop.open("suspect")
            await until(lambda: (len(shop.executions["neighbour"]), 4 in shop.executions["suspect"]) == (2, True))
            worker.stop("the test is over")
            await running
        assert shop.beside == {"neighbour": set(), "suspect": set()}
        assert shop.executions["neighbour"] == [1, 2]
        # A classic queue counts in a copy. Where the cut comes before the ack of what that replaced, there are two.
        assert sorted(shop.executions["suspect"]) in ([4], [3, 4])
        told = [each.deaths for each in shop.told(JobIsolated)]
        assert (told[0], set(told)) == (2, {2, 3})
        assert (await shop.states())["default"] == (0, None)


async def test_a_connection_lost_while_a_suspect_runs_alone_brings_it_back_and_nothing_stands_still(
    amqp_url: str,
) -> None:
    async with behind_a_proxy(amqp_url) as (shop, proxy):
        await shop.suspects("suspect", "other")
        worker = shop.app.worker(concurrency=5)
        async with working(worker) as running:
            await until(lambda: len(shop.inside) == 1)
            (alone,) = shop.inside
            proxy.cut()
            await until(lambda: reconnected(shop))
            assert shop.inside == [alone]
            shop.open("suspect", "other", "later")
            await until(lambda: len(shop.ended) == 3)
            await shop.stay.enqueue("later")
            await until(lambda: len(shop.ended) == 4)
            worker.stop("the test is over")
            await running
        assert shop.executions[alone] == [3, 4]
        assert shop.beside == {"suspect": set(), "other": set(), "later": set()}
        assert (await shop.states())["default"] == (0, None)
