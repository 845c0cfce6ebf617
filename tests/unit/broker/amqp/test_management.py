"""The management API's client against servers that are it, and that are something else."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import parse_qs, urlsplit

import pytest

from taskq.broker.amqp.location import read_location
from taskq.broker.amqp.management import Management, NoManagement
from tests.support.rabbit.ports import free_ports
from tests.support.webserver import Answer, WebServer, as_json, serving

Serve = Callable[[Callable[[str], Answer]], WebServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(serving(answer))


def asking(url: str, broker: str = "amqp://shop:secret@localhost/my%2Fshop", silence_s: float = 2.0) -> Management:
    return Management(read_location(broker), url, silence_s=silence_s)


def paged(names: list[str]) -> Callable[[str], Answer]:
    """Answer as RabbitMQ does."""

    def answer(path: str) -> Answer:
        query = parse_qs(urlsplit(path).query)
        page, size = int(query["page"][0]), int(query["page_size"][0])
        count = -(-len(names) // size)
        if page > max(1, count):
            return as_json({"error": "page_out_of_range", "reason": "Page out of range"}, 400)
        items = [{"name": name, "messages_ready": 1} for name in names[(page - 1) * size : page * size]]
        return as_json({"items": items, "page": page, "page_count": count})

    return answer


async def test_ten_thousand_queues_come_in_pages(serve: Serve) -> None:
    names = [f"queue-{number:05}" for number in range(10_001)]
    server = serve(paged(names))
    told = await asking(server.url).queues()
    assert [row.name for row in told.rows] == names
    assert told.label == server.url
    assert len(server.paths) == 21
    assert server.paths[0] == (
        "/api/queues/my%2Fshop?columns=name%2Cmessages_ready%2Cmessages_unacknowledged%2Cconsumers"
        "&page_size=500&sort=name&page=1"
    )


async def test_queues_that_go_between_two_pages_are_no_error(serve: Serve) -> None:
    names = [str(number) for number in range(501)]

    def shrinking(path: str) -> Answer:
        answer = paged(names)(path)
        del names[500:]
        return answer

    assert len((await asking(serve(shrinking).url).queues()).rows) == 500


async def test_no_queues_are_one_page(serve: Serve) -> None:
    assert (await asking(serve(paged([])).url).queues()).rows == []


async def test_bindings_are_one_list_and_have_no_pages(serve: Serve) -> None:
    row = {"source": "x", "destination": "q", "destination_type": "queue", "routing_key": "k", "arguments": {"a": 1}}
    server = serve(lambda path: as_json([row]))
    (found,) = (await asking(server.url).bindings()).rows
    assert (found.source, found.destination, found.routing_key, found.arguments) == ("x", "q", "k", {"a": 1})
    assert "page" not in server.paths[0]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (as_json({"reason": "Login failed"}, 401), r"refuses this login \(401: Login failed\)"),
        (as_json({"reason": "Not management user"}, 401), "its user needs the tag 'management'"),
        ((403, {}, b"go away"), r"refuses this login \(403\); "),
        (as_json({"error": "Object Not Found", "reason": "Not Found"}, 404), "knows no virtual host 'my/shop'"),
        ((404, {}, b"<html>"), r"is not RabbitMQ's management API \(status 404\)"),
        ((502, {}, b"[" * 100_000), r"is not RabbitMQ's management API \(status 502\)"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), "is not RabbitMQ's management API; enable it"),
        (as_json({"hello": "world"}), "is not RabbitMQ's management API; enable it"),
        (as_json([{"hello": "world"}]), "is not RabbitMQ's management API; enable it"),
        ((200, {}, b""), "is not RabbitMQ's management API; enable it"),
        ((200, {"Content-Length": "100", "Connection": "close"}, b"{}"), "it ended in the middle"),
        ((200, {"Content-Length": "100"}, b"{}"), "nothing came for 0.2 s"),
    ],
    ids=["password", "tag", "403", "vhost", "404", "502", "html", "object", "list", "empty", "cut short", "stuck"],
)  # fmt: skip
async def test_whatever_else_answers_is_told_with_what_to_do(serve: Serve, answer: Answer, why: str) -> None:
    server = serve(lambda path: answer)
    with pytest.raises(NoManagement, match=why) as caught:
        await asking(server.url, silence_s=0.2).queues()
    assert server.url in str(caught.value)
    assert "TASKQ_MANAGEMENT_URL" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_redirect_is_not_followed_since_the_password_would_go_along(serve: Serve) -> None:
    elsewhere = serve(paged([]))
    server = serve(lambda path: (302, {"Location": elsewhere.url + path}, b""))
    with pytest.raises(NoManagement, match="status 302"):
        await asking(server.url).queues()
    assert elsewhere.paths == []


async def test_no_proxy_of_the_environment_gets_the_password(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, server = serve(paged([])), serve(paged(["a"]))
    monkeypatch.setenv("http_proxy", proxy.url)
    assert len((await asking(server.url).queues()).rows) == 1
    assert proxy.paths == []


async def test_nobody_there_is_told() -> None:
    (port,) = free_ports(1)
    with pytest.raises(NoManagement, match=r"does not answer \(connection refused\); enable it"):
        await asking(f"http://127.0.0.1:{port}").queues()


async def test_the_silent_are_given_up(serve: Serve) -> None:
    released = threading.Event()

    def answer(path: str) -> Answer:
        released.wait(10)
        return as_json([])

    with pytest.raises(NoManagement, match=r"nothing came for 0\.1 s"):
        await asking(serve(answer).url, silence_s=0.1).queues()
    released.set()


async def test_who_speaks_no_http_is_told() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"AMQP\x00\x00\x09\x01\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NoManagement, match="speaks no HTTP"):
            await asking(f"http://127.0.0.1:{port}").queues()
        with pytest.raises(NoManagement, match="TLS failed"):
            await asking(f"https://127.0.0.1:{port}").queues()


async def test_the_next_host_is_asked_when_one_is_down(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(paged(["a"]))

    def connect(address: tuple[str, int], *args: object) -> socket.socket:
        if address[0] == "one":
            raise ConnectionRefusedError
        return real(("127.0.0.1", server.port))

    real = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", connect)
    told = await asking("", "amqp://one,two").queues()
    assert (told.label, len(told.rows)) == ("http://two:15672", 1)


async def test_who_is_cancelled_asks_for_no_further_page(serve: Serve) -> None:
    asked, released = threading.Event(), threading.Event()

    def answer(path: str) -> Answer:
        asked.set()
        released.wait(10)
        return paged([str(number) for number in range(2_000)])(path)

    server = serve(answer)
    asking_task = asyncio.create_task(asking(server.url).queues())
    await asyncio.to_thread(asked.wait, 10)
    asking_task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking_task
    released.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert len(server.paths) == 1
