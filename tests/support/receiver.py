"""An HTTP receiver of a test's own: it answers each path as the test says, slowly or never, and notes what it got."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_DRIP_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request. ``at`` is monotonic, in seconds; header names are in lower case; ``connection`` counts from 0."""

    at: float
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to answer. ``sent``: how many bytes of it go out at once; the rest drips. ``never``: nothing at all.

    ``gate``: it waits for it first.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b"{}"
    sent: int | None = None
    never: bool = False
    gate: asyncio.Event | None = None

    @property
    def on_the_wire(self) -> bytes:
        fields = {"Content-Length": str(len(self.body)), **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"HTTP/1.1 {self.status} Said\r\n{head}\r\n".encode() + self.body


OK = Answer()


class Receiver:
    """``answers``: by path, one for each request in turn; the last one stays. A path that is not in it is fine."""

    def __init__(self) -> None:
        self.port = 0
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[Received] = []
        self._connections = 0
        self._busy: set[asyncio.Task[None]] = set()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def got(self, path: str) -> list[Received]:
        """Return the requests of a path so far, without their queries."""
        return [each for each in self.requests if each.path.partition("?")[0] == path]

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[None]:
        """Receive inside the block; connections end with it."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in self._busy:
                task.cancel()
            await asyncio.gather(*self._busy, return_exceptions=True)
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)
        number, self._connections = self._connections, self._connections + 1
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):  # the other side has gone
            while True:
                request = await _read(reader, number)
                self.requests.append(request)
                await _answer(self._next(request.path), writer)
        writer.close()

    def _next(self, path: str) -> Answer:
        scripted = self.answers.get(path.partition("?")[0], [OK])
        return scripted.pop(0) if len(scripted) > 1 else scripted[0]


async def _read(reader: asyncio.StreamReader, connection: int) -> Received:
    line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(at=time.monotonic(), path=line.split()[1], headers=headers, body=body, connection=connection)


async def _answer(answer: Answer, writer: asyncio.StreamWriter) -> None:
    if answer.never:
        await asyncio.get_running_loop().create_future()
    if answer.gate is not None:
        await answer.gate.wait()
    said = answer.on_the_wire
    at_once = len(said) if answer.sent is None else answer.sent
    writer.write(said[:at_once])
    await writer.drain()
    for byte in said[at_once:]:
        await asyncio.sleep(_DRIP_S)
        writer.write(bytes((byte,)))
        await writer.drain()
