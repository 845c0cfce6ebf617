"""One connection for all who need it: its first opening is shared, and its end wakes whoever waits."""

import asyncio
import ssl
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from taskq.broker.amqp.lifeline import Lifeline, Way
from taskq.broker.amqp.link import Link
from taskq.broker.amqp.location import read_location
from taskq.errors import AccessRefused, BrokerUnreachable
from taskq.lifecycle import BrokerConnected, BrokerLost, Event
from tests.support.amqppeer import Peer
from tests.support.waiting import until


class Opened(Peer):
    """A link that was opened."""

    async def close(self) -> None:
        self.plane.abort("it was closed")

    def abort(self, reason: str) -> None:
        self.plane.abort(reason)


class Net:
    """Opens links when `up` is set; before that it waits, or raises `error`."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.error: Exception | None = None
        self.swallows = False
        self.tried = 0
        self.addresses: list[str] = []
        self.links: list[Opened] = []

    async def open(self, address: str, **options: Any) -> Any:
        self.tried += 1
        self.addresses.append(address)
        if self.error is not None:
            raise self.error
        try:
            await self.up.wait()
        except asyncio.CancelledError:
            if self.swallows:  # as aiormq does, when the peer hangs up just then
                self.error = BrokerUnreachable("reset by peer")
                raise self.error from None
            raise
        self.links.append(Opened())
        return self.links[-1]


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    net = Net()
    monkeypatch.setattr(Link, "open", net.open)
    return net


def lifeline(
    emit: Callable[[Event], None] = lambda event: None, *, timeout_s: float = 5.0, url: str = "amqp://here"
) -> Lifeline:
    way = Way(
        location=read_location(url),
        program="test",
        heartbeat_s=15,
        connect_timeout_s=timeout_s,
        emit=emit,
        rng=Random(1),
    )
    return Lifeline(way, "publish")


async def waiting(line: Lifeline, count: int) -> list[asyncio.Task[Link]]:
    tasks = [asyncio.create_task(line.link()) for _ in range(count)]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_the_first_opening_is_shared_and_a_cancelled_wait_does_not_end_it(net: Net) -> None:
    line = lifeline()
    first, *others = await waiting(line, 3)
    first.cancel()
    await asyncio.wait([first])
    net.up.set()
    assert await asyncio.gather(*others) == [net.links[0]] * 2
    assert net.tried == 1
    await line.close()


async def test_an_attempt_that_fails_is_one_error_for_all_and_is_over_in_its_time(net: Net) -> None:
    line = lifeline(timeout_s=0.05)
    began = asyncio.get_running_loop().time()
    errors = await asyncio.gather(*(line.start() for _ in range(5)), return_exceptions=True)
    assert [type(error) for error in errors] == [BrokerUnreachable] * 5
    assert asyncio.get_running_loop().time() - began < 0.5, "not one attempt after the other"
    net.error = AccessRefused("no")
    with pytest.raises(AccessRefused):
        await line.start()
    net.error = None
    net.up.set()
    await line.start()
    assert line.started
    await line.close()


@pytest.mark.parametrize("error", [BrokerUnreachable("no"), AccessRefused("no"), StopAsyncIteration(), KeyError("x")])
async def test_a_lost_connection_is_tried_again_whatever_the_error(net: Net, error: Exception) -> None:
    line = lifeline()
    net.up.set()
    first = await line.link()
    net.error = error
    first.plane.abort("cut")
    await until(lambda: net.tried >= 4)
    net.error = None
    assert await line.link() is net.links[1]
    await line.close()


async def test_after_a_loss_the_host_that_was_lost_is_tried_last(net: Net) -> None:
    line = lifeline(url="amqp://one,two,three")
    net.up.set()
    first = await line.link()
    net.error = BrokerUnreachable("no")
    first.plane.abort("silent")
    await until(lambda: net.tried >= 4)
    net.error = None
    await line.link()
    hosts = [address.partition("@")[2].partition(":")[0] for address in net.addresses]
    assert hosts[:5] == ["one", "two", "three", "one", "two"]
    await line.close()


async def test_an_error_that_nobody_foresaw_is_named_when_the_time_to_connect_is_over(net: Net) -> None:
    net.error = KeyError("x")
    with pytest.raises(BrokerUnreachable, match=r"cannot be reached: KeyError\('x'\)"):
        await lifeline(timeout_s=0.05).start()


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("when", ["first", "later"])
async def test_the_end_wakes_all_who_wait_with_an_error_that_says_so(net: Net, how: str, when: str) -> None:
    line = lifeline()
    if when == "later":
        net.up.set()
        await line.start()
        net.up.clear()
        net.links[0].plane.abort("cut")
        await until(lambda: net.tried == 2)
    tasks = await waiting(line, 3)
    if how == "abort":
        line.abort()
    await line.close()
    for wait in (*tasks, line.link(), line.start()):
        with pytest.raises(BrokerUnreachable, match="closed by this program"):
            await wait


async def test_an_abort_ends_the_connection_at_once_and_tells_of_no_loss(net: Net) -> None:
    events: list[Event] = []
    line = lifeline(events.append)
    net.up.set()
    await line.start()
    line.abort()
    assert net.links[0].transport.aborted
    await line.close()
    await line.close()
    assert [type(event) for event in events] == [BrokerConnected]


async def test_an_old_loss_is_no_reason_once_it_is_connected_again(net: Net) -> None:
    events: list[Event] = []
    line = lifeline(events.append)
    net.up.set()
    await line.start()
    net.links[0].plane.abort("cut")
    await until(lambda: len(net.links) == 2)
    assert [type(event) for event in events] == [BrokerConnected, BrokerLost, BrokerConnected]
    assert "was lost" not in str(line.trouble())
    await line.close()


async def refused_after(net: Net, line: Lifeline, error: Exception) -> float:
    net.error = error
    began = asyncio.get_running_loop().time()
    with pytest.raises(BrokerUnreachable):
        await line.start()
    return asyncio.get_running_loop().time() - began


def untrusted() -> BrokerUnreachable:
    error = BrokerUnreachable("not trusted")
    error.__cause__ = ssl.SSLCertVerificationError(1, "no")
    return error


async def test_a_wrong_certificate_on_every_host_ends_the_first_opening_at_once(net: Net) -> None:
    line = lifeline(timeout_s=30)
    assert await refused_after(net, line, untrusted()) < 5
    assert net.tried == 1
    await line.close()


async def test_a_wrong_certificate_later_on_is_tried_again(net: Net) -> None:
    line = lifeline()
    net.up.set()
    await line.start()
    net.error = untrusted()
    net.links[0].plane.abort("cut")
    await until(lambda: net.tried >= 3)
    net.error = None
    assert await line.link() is net.links[1]
    await line.close()


async def test_another_host_is_tried_when_the_certificate_of_the_first_is_wrong(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    async def open(address: str, **options: Any) -> Any:
        tried.append(address.rpartition("@")[2])
        if len(tried) == 1:
            raise untrusted()
        return await net.open(address, **options)

    monkeypatch.setattr(Link, "open", open)
    net.up.set()
    line = lifeline(url="amqp://one,two")
    await line.start()
    assert tried == ["one:5672/", "two:5672/"]
    await line.close()


async def test_the_time_to_connect_ends_though_the_client_library_makes_an_error_of_it(net: Net) -> None:
    net.swallows = True
    line = lifeline(timeout_s=0.05)
    async with asyncio.timeout(5):
        with pytest.raises(BrokerUnreachable, match="reset by peer"):
            await line.start()
        await line.close()


async def test_it_can_be_closed_though_the_client_library_makes_an_error_of_that(net: Net) -> None:
    line = lifeline()
    net.up.set()
    await line.start()
    net.up.clear()
    net.swallows = True
    net.links[0].abort("cut")
    await until(lambda: net.tried == 2)
    async with asyncio.timeout(5):
        await line.close()
