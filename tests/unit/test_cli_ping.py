"""`taskq ping` where there is no broker: it says why, and does not only say that nothing came in time."""

import importlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskq.cli import ping
from tests.support.rabbit.ports import free_ports
from tests.support.typed import Typed, typed_in

SHOP = {"shop": "from taskq import TaskQ\napp = TaskQ('shop')\n"}
LIMIT_S = 1.5


@pytest.fixture
def taskq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Typed]:
    importlib.import_module("taskq.broker.amqp.broker")  # so that this takes nothing of the limit
    monkeypatch.setattr(ping, "LIMIT_S", LIMIT_S)
    monkeypatch.setattr(ping, "_CONNECT_S", ping._CONNECT_S * LIMIT_S / 5)
    with typed_in(tmp_path, SHOP, monkeypatch, capfd) as typed:
        yield typed


@contextmanager
def service(greeting: bytes | None) -> Iterator[int]:
    """Something that is no broker; its port. ``None``: it takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                taken.append(connection)
                if greeting is not None:
                    connection.recv(64)
                    connection.sendall(greeting)
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


def complaint(taskq: Typed, monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    monkeypatch.setenv("TASKQ_URL", url)
    status, out, err = taskq("ping", "shop:app")
    assert (status, out) == (3, "")
    (line,) = err.splitlines()
    return line


def test_it_gives_up_connecting_before_it_gives_up_itself() -> None:
    assert 0 < ping._CONNECT_S < ping.LIMIT_S


def test_a_port_where_nothing_listens(taskq: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    assert "nothing listens there (connection refused)" in complaint(taskq, monkeypatch, f"amqp://127.0.0.1:{port}")


def test_a_host_that_has_no_address(taskq: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "its host has no address" in complaint(taskq, monkeypatch, "amqp://no.such.host.invalid")


@pytest.mark.parametrize(
    ("greeting", "scheme", "expected"),
    [
        (b"AMQP\x00\x00\x09\x01", "amqps", "its port speaks no TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "amqp", "cannot be reached: "),
        (b"", "amqp", "it ended the connection without a word"),
        (None, "amqp", "no answer"),
    ],
    ids=["TLS to a plain port", "another service", "one that hangs up", "one that is silent"],
)
def test_something_that_is_no_broker(
    taskq: Typed, monkeypatch: pytest.MonkeyPatch, greeting: bytes | None, scheme: str, expected: str
) -> None:
    with service(greeting) as port:
        assert expected in complaint(taskq, monkeypatch, f"{scheme}://127.0.0.1:{port}")
