"""What the client library raises, as errors that say what to do."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aio_pika
import aiormq
import pytest
from aiormq import exceptions as client
from pamqp import commands, frame

from taskq.broker.amqp.faults import error_of, is_final, is_lost, lost, translated
from taskq.broker.amqp.link import Link
from taskq.broker.amqp.location import read_location
from taskq.broker.amqp.mismatch import Untold
from taskq.broker.amqp.plane.faults import ChannelGone, NoChannelFree
from taskq.broker.amqp.tls import UnusableFiles
from taskq.errors import (
    AccessRefused,
    BrokerError,
    BrokerUnreachable,
    MessageTooLarge,
    QueueMismatch,
    TaskqError,
    Unroutable,
)

LABEL = "amqp://ada:***@rabbit:5672/"


def channel_error(code: int, text: str) -> BaseException:
    return ChannelGone(code, text)


def connection_error(code: int, text: str) -> BaseException:
    return aiormq.connection.exception_by_code(commands.Connection.Close(code, text))


def says(error: BaseException, kind: type[TaskqError], *words: str, **options: Any) -> BrokerError:
    """Translate, and check what comes out."""
    ours = error_of(error, LABEL, **options)
    assert type(ours) is kind
    for word in words:
        assert word in str(ours)
    return ours


def test_a_missing_queue_is_unroutable_and_named() -> None:
    for name in ("work", "it's", "' in vhost"):
        ours = error_of(channel_error(404, f"NOT_FOUND - no queue '{name}' in vhost '/'"), LABEL)
        assert isinstance(ours, Unroutable)
        assert ours.queue == name


@pytest.mark.parametrize(
    "text",
    [
        "NOT_FOUND - home node 'rabbit@b' of durable queue 'work' in vhost '/' is down or inaccessible",
        "NOT_FOUND - failed to perform operation on queue 'work' in vhost '/' due to timeout",
    ],
)
def test_a_queue_whose_node_is_down_is_there_all_the_same(text: str) -> None:
    says(channel_error(404, text), BrokerUnreachable, text, "bring the nodes of its cluster back")


def test_a_message_above_the_brokers_own_limit_is_too_large() -> None:
    text = "PRECONDITION_FAILED - message size 17825812 is larger than configured max size 16777216"
    ours = error_of(channel_error(406, text), LABEL)
    assert isinstance(ours, MessageTooLarge)
    assert (ours.size, ours.limit) == (17_825_812, 16_777_216)


def test_a_missing_exchange_is_named() -> None:
    says(
        channel_error(404, "NOT_FOUND - no exchange 'news' in vhost '/'"), BrokerError, "exchange 'news' does not exist"
    )


@pytest.mark.parametrize(
    ("text", "difference"),
    [
        ("received '30' but current is '20'", (30, 20)),
        ("received 'false' but current is 'true'", (False, True)),
        ("received none but current is the value '60000' of type 'signedint'", (None, 60000)),
        ("received the value 'a' of type 'longstr' but current is none", ("a", None)),
        ("received the value 'a...", (None, Untold.OTHER)),
    ],
)
def test_a_declaration_that_differs_is_a_mismatch(text: str, difference: tuple[object, object]) -> None:
    text = f"PRECONDITION_FAILED - inequivalent arg 'x-arg' for queue 'work' in vhost '/': {text}"
    ours = error_of(channel_error(406, text), LABEL)
    assert isinstance(ours, QueueMismatch)
    assert (ours.queue, ours.differences) == ("work", {"x-arg": difference})


def test_a_queue_of_another_connection_is_a_mismatch() -> None:
    text = (
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'work' in vhost '/'. It could be originally"
    )
    ours = error_of(channel_error(405, text), LABEL)
    assert isinstance(ours, QueueMismatch)
    assert (ours.queue, ours.differences) == ("work", {"exclusive": (False, True)})


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            "PRECONDITION_FAILED - invalid arg 'x-dead-letter-strategy' for queue 'a' in vhost '/'",
            "RabbitMQ 3.10 or newer",
        ),
        ("PRECONDITION_FAILED - cannot declare queue 'a': queue limit in vhost '/' (5) is reached", "raise the limit"),
        ("PRECONDITION_FAILED - unknown delivery tag 7", "refuses it"),
        (
            "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e' in vhost '/': received 'a' but curr",
            "exchange 'e'",
        ),
    ],
)
def test_other_refusals_are_handed_on_in_the_brokers_words(text: str, advice: str) -> None:
    says(channel_error(406, text), BrokerError, LABEL, text, advice)


@pytest.mark.parametrize(
    ("text", "permission", "words"),
    [
        ("access to queue 'q' in vhost 'my shop' refused for user 'bob'", "", ["lacks the permission for queue 'q'"]),
        ("access to queue 'q' in vhost 'my shop' refused for user 'bob'", "read", ["'read' permission for queue 'q'"]),
        ("access to exchange 'amq.default' in vhost 'my shop' refused for user 'bob'", "read", ["'write' permission"]),
        (
            "write access to exchange 'e' in vhost 'my shop' refused for user 'bob'",
            "read",
            ["'write' permission for exch"],
        ),
    ],
)
def test_a_missing_permission_is_named_with_the_command_that_gives_it(
    text: str, permission: str, words: list[str]
) -> None:
    error = channel_error(403, f"ACCESS_REFUSED - {text}")
    command = "rabbitmqctl set_permissions -p 'my shop' bob '.*' '.*' '.*'"
    says(error, AccessRefused, LABEL, command, *words, permission=permission)


def test_a_refusal_that_is_about_no_permission_is_handed_on() -> None:
    text = "ACCESS_REFUSED - queue 'work' in vhost '/' in exclusive use"
    says(channel_error(403, text), AccessRefused, text)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("NOT_ALLOWED - vhost my shop not found", AccessRefused, "rabbitmqctl add_vhost 'my shop'"),
        ("NOT_ALLOWED - access to vhost '/' refused for user 'bob'", AccessRefused, "set_permissions -p / bob"),
        (
            "NOT_ALLOWED - access to vhost '/' refused for user 'bob': connection limit (0) is reached",
            BrokerUnreachable,
            "raise the limit",
        ),
        (
            "NOT_ALLOWED - number of channels opened (10) has reached the negotiated channel_max (10)",
            BrokerUnreachable,
            "raise the limit",
        ),
        ("", AccessRefused, "does not say why"),
    ],
)
def test_a_connection_that_is_not_allowed_says_why(text: str, kind: type[BrokerError], words: str) -> None:
    says(connection_error(530, text), kind, LABEL, words)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"),
        (541, "INTERNAL_ERROR"),
        (501, "FRAME_ERROR - type 3, all octets = <<>>"),
    ],
)
def test_a_closed_connection_is_unreachable_and_says_why(code: int, text: str) -> None:
    says(connection_error(code, text), BrokerUnreachable, LABEL, text, "taskq connects again")


@pytest.mark.parametrize(
    "error",
    [
        client.ChannelInvalidStateError("<Channel: 1> closed"),
        client.AMQPConnectionError("Server connection unexpectedly closed. Read 0 bytes but 1 bytes expected"),
        client.ChannelClosed(None, None),
        client.InvalidFrameError("garbage"),
        RuntimeError("<Connection: 'amqp://ada:******@rabbit/'> closed"),
        RuntimeError("Connection was not opened"),
        ConnectionResetError(104, "Connection reset by peer"),
        BrokenPipeError(),
        TimeoutError(),
    ],
    ids=repr,
)
def test_an_operation_on_a_connection_that_ended_says_so(error: BaseException) -> None:
    says(error, BrokerUnreachable, f"the connection to {LABEL} was lost", "taskq connects again")


def test_what_closed_the_connection_is_no_refusal_of_what_was_under_way() -> None:
    text = "CONNECTION_FORCED - Closed via management plugin"
    says(ChannelGone(text=text), BrokerUnreachable, f"the connection to {LABEL} was lost", text)


def test_a_connection_without_a_free_channel_is_not_lost() -> None:
    ours = says(
        NoChannelFree(2047), BrokerError, LABEL, "all 2,047 channels of the connection are in use", "channel_max"
    )
    assert not isinstance(ours, BrokerUnreachable)


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("dictionary changed"), KeyError(1), KeyboardInterrupt()]
)
def test_what_is_no_error_of_the_broker_passes(error: BaseException) -> None:
    assert error_of(error, LABEL) is None
    with pytest.raises(type(error)) as caught, translated(LABEL):
        raise error
    assert caught.value is error


def test_our_own_errors_pass() -> None:
    error = Unroutable("work")
    with pytest.raises(Unroutable) as caught, translated(LABEL):
        raise error
    assert caught.value is error
    assert caught.value.__cause__ is None


def test_what_the_client_library_said_stays_behind_the_error() -> None:
    error = client.ConnectionClosed(None, None)
    with pytest.raises(BrokerUnreachable) as caught, translated(LABEL):
        raise error
    assert caught.value.__cause__ is error
    assert "None" not in str(caught.value)


async def test_a_wait_that_the_connection_cancelled_is_a_lost_connection() -> None:
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting.cancel()
    with pytest.raises(BrokerUnreachable, match="was lost"), translated(LABEL):
        await waiting


async def test_a_task_that_is_cancelled_stays_cancelled() -> None:
    seen: list[bool] = []

    async def wait() -> None:
        with translated(LABEL):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                seen.append(is_lost(error))
                raise

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert (task.cancelled(), seen) == (True, [False])


async def test_a_deadline_around_stays_a_deadline() -> None:
    async def wait() -> None:
        async with asyncio.timeout(0.01):
            with translated(LABEL):
                await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait()


def test_a_lost_connection_has_a_reason_when_there_is_one() -> None:
    assert "(shutdown)" in str(lost(LABEL, "shutdown"))
    assert "()" not in str(lost(LABEL))


# Below: real connections to servers of a few lines.

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    done: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in done:
            writer.close()
        await server.wait_closed()


async def connecting(url: str, timeout_s: float = 5.0) -> BrokerError:
    """The error of a connection that cannot be made, which says no password."""
    location = read_location(url)

    async def connect() -> None:
        connection = aio_pika.Connection(aio_pika.connection.make_url(location.addresses[0]))
        try:
            async with asyncio.timeout(timeout_s):
                await connection.connect()
        finally:
            await connection.close()

    with pytest.raises(BrokerError) as caught, translated(location.label, connecting=True):
        await connect()
    assert location.label in str(caught.value)
    assert "hunter2" not in str(caught.value)
    return caught.value


def test_a_connection_that_ended_before_the_client_library_read_is_one_that_ended_without_a_word() -> None:
    says(StopAsyncIteration(), BrokerUnreachable, "ended the connection without a word", connecting=True)


async def test_a_port_without_anybody_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        error = await connecting(f"amqp://ada:hunter2@127.0.0.1:{taken.getsockname()[1]}")
    assert type(error) is BrokerUnreachable
    assert "is the broker running" in str(error)


async def test_a_name_without_an_address_is_a_matter_of_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    error = await connecting("amqp://ada:hunter2@no-such-host")
    assert "its host has no address (Name or service not known)" in str(error)


async def test_a_server_that_ends_the_connection_may_want_tls() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)

    async with serving(hang_up) as port:
        error = await connecting(f"amqp://ada:hunter2@127.0.0.1:{port}")
    assert type(error) is BrokerUnreachable
    assert "amqps://" in str(error)


async def test_a_server_that_is_silent_is_named_after_the_deadline() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(say_nothing) as port:
        error = await connecting(f"amqp://ada:hunter2@127.0.0.1:{port}", timeout_s=0.2)
    assert type(error) is BrokerUnreachable
    assert "no answer in time" in str(error)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"AMQP\0\0\x09\x01", b"AMQP\3\1\0\0", b"SSH-2.0-x"]
)
async def test_a_server_that_speaks_something_else_is_no_rabbitmq(answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(answer)
        await writer.drain()

    async with serving(speak) as port:
        error = await connecting(f"amqp://ada:hunter2@127.0.0.1:{port}")
    assert type(error) is BrokerUnreachable


async def test_a_server_without_tls_is_told_apart_from_one_that_is_not_trusted() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"AMQP\0\0\x09\x01")
        await reader.read()

    async with serving(speak) as port:
        error = await connecting(f"amqps://ada:hunter2@127.0.0.1:{port}")
    assert "speaks no TLS" in str(error)
    untrusted = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    untrusted.verify_message = "self-signed certificate"
    says(untrusted, BrokerUnreachable, "not trusted (self-signed certificate)", "?cafile=", connecting=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] alert", "asks for a client certificate"),
        ("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] alert", "asks for a client certificate"),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] alert", "does not accept our client certificate"),
        ("[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] alert", "does not accept our client certificate"),
        ("[SSL: SSLV3_ALERT_BAD_CERTIFICATE] alert", "does not accept our client certificate"),
        ("[SSL: TLSV1_ALERT_PROTOCOL_VERSION] alert", "TLS failed"),
    ],
)
def test_what_the_broker_does_not_take_in_tls_is_told_apart(text: str, words: str) -> None:
    says(ssl.SSLError(1, text), BrokerUnreachable, words, "certfile", connecting=True)


E = TypeVar("E", bound=BaseException)


def raised(error: E, cause: BaseException) -> E:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "final"),
    [
        (ssl.SSLCertVerificationError(1, "no"), True),
        (ssl.SSLError(1, "[SSL: TLSV1_ALERT_UNKNOWN_CA] alert"), True),
        (UnusableFiles("no file"), True),
        (ssl.SSLEOFError(8, "ended"), False),
        (ConnectionRefusedError(), False),
        (TimeoutError(), False),
    ],
)
def test_only_certificates_and_files_make_another_try_at_once_useless(cause: BaseException, final: bool) -> None:
    assert is_final(raised(BrokerUnreachable("no"), cause)) == final
    if isinstance(cause, OSError):  # which the client library wraps
        assert is_final(raised(BrokerUnreachable("no"), raised(client.AMQPConnectionError("no"), cause))) == final
    assert not is_final(BrokerUnreachable("no"))


async def test_a_file_for_tls_that_is_missing_is_named() -> None:
    (address,) = read_location("amqps://ada:hunter2@127.0.0.1:1/?cafile=/no/such.pem").addresses
    with pytest.raises(BrokerUnreachable) as caught:
        await Link.open(address, label=LABEL, name="test", heartbeat_s=15, timeout_s=5)
    assert "cafile '/no/such.pem' in the URL cannot be read (No such file or directory)" in str(caught.value)
    assert is_final(caught.value)


def start(mechanisms: str = "PLAIN AMQPLAIN") -> bytes:
    return frame.marshal(commands.Connection.Start(0, 9, {"capabilities": {}}, mechanisms, "en_US"), 0)


@asynccontextmanager
async def broker_that_closes(close: commands.Connection.Close) -> AsyncIterator[int]:
    """A broker that shakes hands and refuses the virtual host."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        for answer in (start(), frame.marshal(commands.Connection.Tune(0, 131072, 60), 0), frame.marshal(close, 0)):
            writer.write(answer)
            await writer.drain()
            await reader.read(4096)

    async with serving(serve) as port:
        yield port


async def test_what_the_broker_says_about_a_virtual_host_is_not_lost_in_the_client_library() -> None:
    async with broker_that_closes(commands.Connection.Close(530, "NOT_ALLOWED - vhost shop not found", 10, 40)) as port:
        error = await connecting(f"amqp://ada:hunter2@127.0.0.1:{port}/shop")
    assert type(error) is AccessRefused
    assert "there is no virtual host 'shop'" in str(error)


def test_a_virtual_host_that_is_refused_without_a_word_names_what_it_may_be() -> None:
    error = client.InvalidFrameError("Expected one of ['Connection.OpenOk'], got <Connection.Close object at 0x1>")
    says(error, AccessRefused, "it does not exist, this user may not use it, or a limit", connecting=True)


async def test_a_login_that_is_refused_says_where_to_look() -> None:
    says(
        client.ProbableAuthenticationError("ACCESS_REFUSED - Login was refused"),
        AccessRefused,
        "Check user and password",
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(start("EXTERNAL"))
        await reader.read()

    async with serving(serve) as port:
        error = await connecting(f"amqp://ada:hunter2@127.0.0.1:{port}")
    assert type(error) is AccessRefused
