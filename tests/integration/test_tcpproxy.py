"""The proxy breaks connections as it says; else the tests that stand on it would prove nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.tcpproxy import TcpProxy
from tests.support.waiting import until


@pytest.fixture
async def proxy() -> AsyncIterator[TcpProxy]:
    """A proxy before a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy
    server.close()


async def connected(proxy: TcpProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    return reader, writer


async def test_a_cut_ends_the_connection_and_a_new_one_works(proxy: TcpProxy) -> None:
    reader, writer = await connected(proxy)
    proxy.cut()
    assert await reader.read() == b""
    writer.close()
    _, writer = await connected(proxy)
    writer.close()
    assert proxy.accepted == 2


async def test_a_reset_is_an_error_to_who_reads(proxy: TcpProxy) -> None:
    reader, writer = await connected(proxy)
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    await until(lambda: proxy.connections == 0)


async def test_a_refusal_holds_until_it_is_taken_back(proxy: TcpProxy) -> None:
    _, kept = await connected(proxy)
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.accept_again()
    _, writer = await connected(proxy)
    for each in (kept, writer):
        each.close()


async def test_a_stall_delays_and_loses_nothing(proxy: TcpProxy) -> None:
    reader, writer = await connected(proxy)
    proxy.stall()
    writer.write(b"later")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reader.read(1)
    proxy.flow()
    assert await reader.readexactly(5) == b"later"
    writer.close()


async def test_a_black_hole_swallows_and_resets_when_it_closes(proxy: TcpProxy) -> None:
    reader, writer = await connected(proxy)
    proxy.black_hole()
    writer.write(b"gone")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reader.read(1)
    proxy.flow()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_a_cut_after_some_bytes_comes_in_the_middle(proxy: TcpProxy) -> None:
    reader, writer = await connected(proxy)
    proxy.cut_in(7)
    writer.write(b"0123456789")
    assert await reader.read(100) == b"0123456"
    assert await reader.read() == b""
    writer.close()


async def test_half_open_swallows_what_is_old_and_lets_new_connections_pass(proxy: TcpProxy) -> None:
    reader, old = await connected(proxy)
    proxy.half_open()
    old.write(b"gone")
    _, new = await connected(proxy)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reader.read(1)
    for each in (old, new):
        each.close()


async def test_an_end_on_a_half_open_connection_is_not_told_to_the_other_end(proxy: TcpProxy) -> None:
    _, old = await connected(proxy)
    proxy.half_open()
    old.close()
    await old.wait_closed()
    with pytest.raises(TimeoutError):
        await until(lambda: proxy.connections == 0, timeout_s=0.05)


async def test_a_trickle_lets_everything_through_and_takes_its_time(proxy: TcpProxy) -> None:
    reader, writer = await connected(proxy)
    proxy.trickle(2, 0.02)
    began = asyncio.get_running_loop().time()
    writer.write(b"0123456789")
    assert await reader.readexactly(10) == b"0123456789"
    assert asyncio.get_running_loop().time() - began > 0.07
    proxy.flow()
    writer.write(b"x" * 100_000)
    async with asyncio.timeout(5):
        await reader.readexactly(100_000)
    writer.close()


async def test_it_says_which_cuts_are_still_to_come(proxy: TcpProxy) -> None:
    reader, writer = await connected(proxy)
    proxy.cut_in(3)
    assert proxy.cuts_left == 1
    writer.write(b"0123456789")
    assert await reader.read(100) == b"012"
    await until(lambda: proxy.cuts_left == 0)
    writer.close()
