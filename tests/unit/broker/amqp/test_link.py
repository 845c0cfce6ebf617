"""Connections that cannot be opened leave nothing for the garbage collector to do."""

import asyncio
import gc
from collections.abc import Iterator

import aio_pika
import pytest

from taskq.broker.amqp.link import Link
from taskq.errors import BrokerUnreachable
from tests.support.rabbit.ports import free_ports

TRIES = 5


def unclosed() -> list[aio_pika.Connection]:
    """The connections that the client library would still close, in a task of its own, when they are collected."""
    return [each for each in gc.get_objects() if isinstance(each, aio_pika.Connection) and not each.is_closed]


async def opened(port: int) -> Link:
    return await Link.open(f"amqp://127.0.0.1:{port}/", label="test", name="test", heartbeat_s=15, timeout_s=0.2)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Collect nothing but by reference counts meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
async def test_a_connection_that_is_refused_is_closed_for_the_client_library_too() -> None:
    (port,) = free_ports(1)
    before = asyncio.all_tasks()
    errors = []
    for _ in range(TRIES):
        with pytest.raises(BrokerUnreachable) as caught:
            await opened(port)
        errors.append(caught.value)  # whose traceback holds all that there was
    assert unclosed() == []
    assert asyncio.all_tasks() == before


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_connection_that_nobody_answers_is_closed_for_the_client_library_too(cancelled: bool) -> None:
    before = asyncio.all_tasks()
    errors = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for _ in range(TRIES):
            opening = asyncio.create_task(opened(port))
            if cancelled:
                asyncio.get_running_loop().call_later(0.05, opening.cancel)
            await asyncio.wait({opening})
            assert opening.cancelled() == cancelled
            errors.append(opening)
        assert unclosed() == []
        assert asyncio.all_tasks() - before <= {task for task in asyncio.all_tasks() if "silent" in repr(task)}
