"""What taskq relies on in aio-pika and aiormq, in the versions that are installed: the plane sits below them.

A new version of one of them is accepted when this passes with it.
"""

import asyncio
import inspect
import ssl
import sys
import tomllib
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from urllib.parse import urlsplit

import aiormq
import pytest
import trustme
import uvloop
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from packaging.requirements import Requirement

from taskq.broker.amqp.broker import AmqpBroker
from taskq.clock import SystemClock
from taskq.tasks.queues import Queue
from taskq.wire.message import Message
from tests.conformance.stand import ROOT, Catch, publish, to
from tests.support.tcpproxy import TcpProxy

pytestmark = pytest.mark.broker_problems("not_found")

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


class Way:
    """A URL of the broker, plain or with TLS in front of it."""

    def __init__(self, url: str, authority: trustme.CA | None) -> None:
        self._plain = url
        self._authority = authority

    async def urls(self) -> AsyncIterator[str]:
        parts = urlsplit(self._plain)
        assert parts.hostname is not None
        assert parts.port is not None
        if self._authority is None:
            yield self._plain
            return
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._authority.issue_cert("127.0.0.1").configure_cert(context)
        with self._authority.cert_pem.tempfile() as cafile:
            async with TcpProxy(parts.hostname, parts.port, tls=context) as proxy:
                yield f"amqps://guest:guest@127.0.0.1:{proxy.port}{parts.path}?cafile={cafile}"


async def everything(way: Way) -> None:
    """Publish, consume, delay, get replies, look, and close: all that crosses the border between plane and library."""
    async for url in way.urls():
        async with AmqpBroker(url, clock=SystemClock()) as broker:
            await broker.declare([Queue("work")])
            catch = Catch()
            consumer = await broker.consume("work", prefetch=100, deliver=catch)
            bodies = [b"%d" % number for number in range(500)] + [b"x" * 400_000, b""]
            await publish(broker, *(to("work", body) for body in bodies))
            assert [await catch.settled() for _ in bodies] == bodies
            replies: list[Message] = []
            inbox = await broker.open_inbox(replies.append)
            await publish(broker, to(inbox.address, b"reply", mandatory=False))
            async with asyncio.timeout(5):
                while not replies:  # noqa: ASYNC110  # nobody signals it
                    await asyncio.sleep(0.001)
            await consumer.close()
            assert [state.ready for state in await broker.inspector.queues()] == [0, 0]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_plane_works_below_the_library(amqp_url: str, loop: str, tls: bool) -> None:
    way = Way(amqp_url, trustme.CA() if tls else None)
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(everything(way))


async def test_a_certificate_that_nobody_vouches_for_is_refused(amqp_url: str) -> None:
    async for url in Way(amqp_url, trustme.CA()).urls():
        with pytest.raises(Exception, match="certificate is not trusted"):
            async with AmqpBroker(url.partition("?")[0], clock=SystemClock(), connect_timeout_s=0.5):
                pass


def test_the_library_has_what_the_plane_stands_on() -> None:
    create = inspect.signature(TransportFactory.create)
    assert list(create.parameters) == ["self", "url", "kwargs"]
    assert issubclass(TCPTransportFactory, TransportFactory)
    assert issubclass(TLSTransportFactory, TransportFactory)
    assert "transport_factory" in inspect.signature(aiormq.Connection.__init__).parameters
    assert isinstance(inspect.getattr_static(aiormq.Connection, "accept_consumer_cancel_ok"), property)


@pytest.mark.parametrize("library", ["aio-pika", "aiormq", "pamqp"])
def test_the_installed_versions_are_those_that_the_project_asks_for(library: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [Requirement(line) for line in project["project"]["dependencies"]]
    (own,) = [requirement for requirement in wanted if requirement.name == library]
    assert own.specifier.contains(version(library)), f"{library} {version(library)} on {sys.version}"
    assert any(each.operator == "<" for each in own.specifier), "a next version is to be looked at first"
