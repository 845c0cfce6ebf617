"""A RabbitMQ behind TLS: what is verified, how each wrong certificate is told, and who may log in by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from taskq import AccessRefused, BrokerError, BrokerUnreachable, TaskQ
from taskq.broker.amqp.broker import AmqpBroker
from taskq.broker.protocol import Listing, QueueState
from taskq.clock import SystemClock
from taskq.tasks.queues import Queue
from tests.conformance.stand import Catch, to
from tests.integration.test_connections import Told, opened
from tests.integration.test_consumers import working
from tests.support.commandline import Terminal
from tests.support.rabbit import RabbitNode
from tests.support.rabbit.certificates import TlsFiles
from tests.support.waiting import eventually, until

AT_ONCE_S = 5.0  # on a loaded machine, and half of the time that opening waits for a broker that is not there
Certificate = Callable[[TlsFiles], trustme.LeafCert]

WRONG = {
    "expired": (TlsFiles.expired, "certificate has expired", "renew it on the broker"),
    "for another host": (TlsFiles.for_another_host, "mismatch", "use a host name that stands in it"),
    "from a stranger": (TlsFiles.from_a_stranger, "unable to get", r"\?cafile=…"),
}
wrong = pytest.mark.parametrize(("certificate", "why", "advice"), WRONG.values(), ids=WRONG)


def files_of(node: RabbitNode) -> TlsFiles:
    assert node.tls is not None
    return node.tls


@pytest.fixture
def vhost(tls_node: RabbitNode) -> Iterator[str]:
    name = tls_node.new_vhost()
    yield name
    tls_node.drop_vhost(name)


async def refusal(url: str, kind: type[BrokerError] = BrokerUnreachable) -> str:
    """Return what opening a broker fails with, which it does at once."""
    began = time.monotonic()
    with pytest.raises(BrokerError) as caught:
        async with AmqpBroker(url, clock=SystemClock()):
            pass
    assert time.monotonic() - began < AT_ONCE_S, caught.value
    assert type(caught.value) is kind
    assert "guest:guest" not in str(caught.value)
    return str(caught.value)


async def opens(url: str) -> None:
    async with AmqpBroker(url, clock=SystemClock()) as broker:
        await broker.declare([Queue("work")])


async def test_a_job_a_call_and_a_delay_go_over_tls(tls_node: RabbitNode, vhost: str) -> None:
    app = TaskQ[object]("shop", url=tls_node.tls_url(vhost))
    ran: list[int] = []

    @app.task
    async def double(number: int) -> int:
        ran.append(number)
        return 2 * number

    async with working(app):
        await double.enqueue(1)
        assert await double.with_options(reply_timeout=20).call(2) == 4
        await double.with_options(delay=timedelta(milliseconds=100)).enqueue(3)
        await until(lambda: 3 in ran)
    assert sorted(ran) == [1, 2, 3]


# Whom the client trusts.


@wrong
async def test_a_certificate_that_is_not_good_is_refused_at_once_and_told_apart(
    tls_node: RabbitNode, vhost: str, certificate: Certificate, why: str, advice: str
) -> None:
    tls_node.serve(certificate(files_of(tls_node)))
    text = await refusal(tls_node.tls_url(vhost))
    assert "its certificate is not trusted (" in text
    assert why in text
    assert advice.replace("\\", "") in text


@wrong
def test_taskq_ping_says_so_in_one_line_with_status_3(
    tls_node: RabbitNode, tmp_path: Path, certificate: Certificate, why: str, advice: str
) -> None:
    tls_node.serve(certificate(files_of(tls_node)))
    assert why in complaint_of_ping(tmp_path, tls_node.tls_url())


def complaint_of_ping(folder: Path, url: str) -> str:
    (folder / "shop.py").write_text("from taskq import TaskQ\n\napp = TaskQ('shop')\n")
    with Terminal(folder, {"TASKQ_URL": url}) as terminal:
        said = terminal.run("ping", "shop:app")
    assert (said.status, said.out) == (3, "")
    (line,) = said.err.splitlines()
    assert "guest:guest" not in line
    return line


async def test_without_a_word_in_the_url_an_authority_that_this_machine_does_not_know_is_refused(
    tls_node: RabbitNode, vhost: str
) -> None:
    assert "?cafile=…" in await refusal(tls_node.tls_url(vhost).partition("?")[0])


@wrong
async def test_no_verify_ssl_takes_any_certificate(
    tls_node: RabbitNode, vhost: str, certificate: Certificate, why: str, advice: str
) -> None:
    tls_node.serve(certificate(files_of(tls_node)))
    await opens(tls_node.tls_url(vhost, "no_verify_ssl=1"))
    assert why in await refusal(tls_node.tls_url(vhost, "no_verify_ssl=0"))


async def test_the_authority_may_stand_in_the_url_itself_or_in_a_folder(
    tls_node: RabbitNode, vhost: str, tmp_path: Path
) -> None:
    address = tls_node.tls_url(vhost).partition("?")[0]
    lines = files_of(tls_node).cafile.read_text().splitlines()
    await opens(f"{address}?cadata={''.join(lines[1:-1]).replace('+', '%2B')}")
    await opens(f"{address}?cadata={''.join(lines[1:-1])}")
    assert "cadata the lines of one" in await refusal(f"{address}?cadata=nonsense")
    assert "?cafile=…" in await refusal(f"{address}?capath={tmp_path}")


async def test_a_connection_that_comes_back_verifies_again(tls_node: RabbitNode, vhost: str) -> None:
    files, told, catch = files_of(tls_node), Told(), Catch()
    async with opened(tls_node.tls_url(vhost), told) as broker:
        await broker.consume("work", prefetch=1, deliver=catch)
        for certificate, why, _ in WRONG.values():
            before = told.back("consume")
            tls_node.serve(certificate(files))
            await asyncio.to_thread(tls_node.close_connections)
            sent = broker.publish(to("work", why.encode()), timeout_s=60)
            await eventually(lambda why=why: why in str(broker.lifeline.trouble()), why)
            assert broker.lifeline.current is None
            tls_node.serve(files.good())
            await eventually(lambda before=before: told.back("consume") > before, "it is back")
            await sent
            assert await catch.settled() == why.encode()


# What the client shows.


async def test_a_client_certificate_that_is_demanded_and_missing_or_not_good_is_told(
    tls_node: RabbitNode, vhost: str
) -> None:
    files, port = files_of(tls_node), tls_node.demand_certificates()
    assert "certfile" in await refusal(tls_node.tls_url(vhost, port=port))
    stranger = files.client("stranger", trustme.CA())
    assert "does not accept our client certificate" in await refusal(tls_node.tls_url(vhost, stranger, port=port))
    await opens(tls_node.tls_url(vhost, files.client("ada"), port=port))


def test_the_command_on_uvloop_which_has_its_own_tls_is_told_the_same(tls_node: RabbitNode, tmp_path: Path) -> None:
    assert "certfile" in complaint_of_ping(tmp_path, tls_node.tls_url(port=tls_node.demand_certificates()))


async def test_files_that_cannot_be_used_are_named(tls_node: RabbitNode, vhost: str, tmp_path: Path) -> None:
    files = files_of(tls_node)
    ada, bob = files.client("ada"), files.client("bob")
    certfile, keyfile = ada.split("&")
    empty = tmp_path / "empty.pem"
    empty.touch()
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(encrypted_key())
    for query, words in [
        (f"{certfile}&keyfile={tmp_path}/missing.key", f"keyfile '{tmp_path}/missing.key' in the URL cannot be read"),
        (f"{certfile}&{bob.split('&')[1]}", "the client certificate cannot be used"),
        (f"certfile={empty}&{keyfile}", "the client certificate cannot be used"),
        (f"{certfile}&keyfile={encrypted}", "is encrypted"),
    ]:
        assert words in await refusal(tls_node.tls_url(vhost, query))
    address = tls_node.tls_url(vhost).partition("?")[0]
    assert "the certificates to trust cannot be used" in await refusal(f"{address}?cafile={empty}")


def encrypted_key() -> bytes:
    """A key with a password, as OpenSSL writes it."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


async def test_a_certificate_logs_its_user_in(tls_node: RabbitNode, vhost: str) -> None:
    external = f"auth=external&{files_of(tls_node).client('ada')}"
    url = tls_node.tls_url(vhost, external).replace("guest:guest@", "")
    assert "make a user of that name" in await refusal(url, AccessRefused)
    tls_node.add_user("ada", "never used")
    try:
        assert "'ada' may not use the virtual host" in await refusal(url, AccessRefused)
        tls_node.allow("ada", vhost)
        await opens(url)
        tls_node.permit("ada", vhost, configure="^work", write=".*", read="^work")
        async with AmqpBroker(url, clock=SystemClock()) as broker:
            with pytest.raises(AccessRefused, match="the user 'ada' lacks the 'configure' permission"):
                await broker.declare([Queue("other")])
    finally:
        tls_node.delete_user("ada")


async def test_a_broker_that_knows_no_login_by_certificate_says_what_it_knows(own_node: RabbitNode) -> None:
    text = await refusal(f"{own_node.url()}?auth=external", AccessRefused)
    assert "takes no login by certificate" in text
    assert "PLAIN" in text


# The management API.


async def listed(node: RabbitNode, vhost: str, management_url: str = "") -> Listing[QueueState]:
    async with AmqpBroker(node.tls_url(vhost), clock=SystemClock(), management_url=management_url) as broker:
        await broker.declare([Queue("work")])
        return await broker.inspector.list_queues()


async def test_the_management_api_is_asked_over_tls_and_verified_as_the_broker_is(
    tls_node: RabbitNode, vhost: str
) -> None:
    url = f"https://127.0.0.1:{tls_node.tls_management_port}"
    listing = await listed(tls_node, vhost, url)
    assert (listing.source, listing.unknown) == (f"the management API at {url}", None)
    assert [state.name for state in listing.items] == ["work", "work.dead"]


@wrong
async def test_a_management_api_whose_certificate_is_not_good_is_asked_nothing(
    tls_node: RabbitNode, vhost: str, certificate: Certificate, why: str, advice: str
) -> None:
    url = f"https://127.0.0.1:{tls_node.tls_management_port}"
    async with AmqpBroker(tls_node.tls_url(vhost), clock=SystemClock(), management_url=url) as broker:
        await broker.declare([Queue("work")])
        tls_node.serve(certificate(files_of(tls_node)))
        listing = await broker.inspector.list_queues()
    assert listing.unknown is not None
    assert "its certificate is not trusted" in listing.unknown
    assert why in listing.unknown
    assert [state.name for state in listing.items] == ["work", "work.dead"]
