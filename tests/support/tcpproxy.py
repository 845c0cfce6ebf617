"""A TCP proxy that breaks connections as networks do, for tests of who has to live with that.

It forwards between a free port of the loopback and a server. What a fault takes away is gone: bytes that went into a
black hole are not sent later, and such a connection is reset when the hole closes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from types import TracebackType
from typing import Self

_CHUNK = 65_536
_AT_ONCE_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


class TcpProxy:
    """Forwards to ``host``:``port``; ``accepted`` counts the connections that came so far.

    ``tls``: who connects speaks TLS to the proxy, which forwards what is inside.
    """

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self._target = host, port
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.swallows = False
        self._trickle: tuple[int, float] | None = None
        self.port = 0
        self.accepted = 0

    async def __aenter__(self) -> Self:
        await self.accept_again()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._pairs)

    def cut(self) -> None:
        """End all connections in order, at both ends."""
        for pair in list(self._pairs):
            pair.close()

    def reset(self) -> None:
        """End all connections with a reset, at both ends; what was on its way is lost."""
        for pair in list(self._pairs):
            pair.abort()

    async def refuse(self) -> None:
        """Refuse new connections; harmless twice."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()

    async def accept_again(self) -> None:
        """Accept connections, on the same port as ever."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def stall(self) -> None:
        """Forward nothing for now; what comes waits, and soon its sender does."""
        self._flowing.clear()

    def black_hole(self) -> None:
        """Throw away all that comes, in both directions; new connections are accepted and never answered."""
        self.swallows = True

    def half_open(self) -> None:
        """Throw away all that comes on the connections of now; new ones pass. Their ends do not hear of each other."""
        for pair in self._pairs:
            pair.swallows = True

    def trickle(self, size: int, pause_s: float) -> None:
        """Forward so many bytes at a time, in each direction, with a pause after each."""
        self._trickle = size, pause_s

    def flow(self) -> None:
        """Forward again, after a stall, a trickle or a black hole; connections that lost bytes are reset."""
        if self.swallows:
            self.swallows = False
            self.reset()
        self._trickle = None
        self._flowing.set()

    def cut_in(self, size: int) -> None:
        """Cut each connection when so many more bytes have gone to the client: in the middle of a frame, likely."""
        for pair in self._pairs:
            pair.left = size

    @property
    def cuts_left(self) -> int:
        """How many connections :meth:`cut_in` has still to cut."""
        return sum(pair.left is not None for pair in self._pairs)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.accepted += 1
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(writer, there_writer)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, there_writer, pair, counts=False))
                group.create_task(self._forward(there_reader, writer, pair, counts=True))
        except* OSError:
            pass
        finally:
            self._pairs.discard(pair)
            pair.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: _Pair, *, counts: bool
    ) -> None:
        while data := await reader.read(_CHUNK):
            await self._flowing.wait()
            if self.swallows or pair.swallows:
                continue
            if counts and pair.left is not None:
                data, pair.left = data[: pair.left], pair.left - len(data)
            while self._trickle is not None and data:
                size, pause_s = self._trickle
                writer.write(data[:size])
                data = data[size:]
                await asyncio.sleep(pause_s)
            writer.write(data)
            await writer.drain()
            if counts and pair.left is not None and pair.left <= 0:
                pair.left = None
                break
        if not self.swallows and not pair.swallows:
            pair.close()


class _Pair:
    """The two ends of a connection that is forwarded."""

    def __init__(self, here: asyncio.StreamWriter, there: asyncio.StreamWriter) -> None:
        self._ends = here, there
        self.left: int | None = None
        self.swallows = False

    def close(self) -> None:
        for end in self._ends:
            end.close()

    def abort(self) -> None:
        for end in self._ends:
            opened: socket.socket | None = end.get_extra_info("socket")
            if opened is not None and opened.fileno() >= 0 and not end.is_closing():
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE_RESET)
            end.transport.abort()
