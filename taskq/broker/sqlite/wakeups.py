"""A datagram on the loopback that tells other processes to look at a queue. A hint: it may be lost, or forged.

It carries the number of the queue. Whoever gets it looks; the worst that a forged one can do is a look for nothing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Protocol

_HOST = "127.0.0.1"
_FORMAT = struct.Struct("!4sQ")
_MAGIC = b"tskq"
_AT_ONCE = 256  # datagrams read in one turn of the loop


class Wakeups(Protocol):
    """What wakes this process, and lets it wake others. ``port`` is where it is reached; 0: nowhere."""

    @property
    def port(self) -> int: ...

    def listen(self, loop: asyncio.AbstractEventLoop, woken: Callable[[int], None]) -> None:
        """Call ``woken`` on ``loop`` with the number of each queue that we are told to look at."""
        ...

    def notify(self, port: int, queue: int) -> None:
        """Tell the process behind ``port`` to look at ``queue``. It never blocks and never fails."""
        ...

    def close(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Listen no more; harmless twice."""
        ...


class WakeupSocket:
    """Implements :class:`Wakeups` with one socket. ``port`` is 0 where there is no loopback; then polling has to do."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self.port = 0
        try:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.bind((_HOST, 0))
            self.port = int(self._socket.getsockname()[1])
        except OSError:
            self.close()

    def listen(self, loop: asyncio.AbstractEventLoop, woken: Callable[[int], None]) -> None:
        """Call ``woken`` on ``loop`` with the number of each queue that we are told to look at."""
        if self._socket is not None:
            loop.add_reader(self._socket, self._read, woken)

    def notify(self, port: int, queue: int) -> None:
        """Tell the process behind ``port`` to look at ``queue``. It never blocks and never fails."""
        if self._socket is not None and port:
            try:
                self._socket.sendto(_FORMAT.pack(_MAGIC, queue), (_HOST, port))
            except OSError:
                pass

    def close(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Close the socket; harmless twice."""
        if self._socket is not None:
            if loop is not None:
                loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self, woken: Callable[[int], None]) -> None:
        queues: set[int] = set()
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(_FORMAT.size + 1) if self._socket is not None else b""
            except OSError:
                break
            if len(data) == _FORMAT.size and data.startswith(_MAGIC):
                queues.add(_FORMAT.unpack(data)[1])
        for queue in queues:
            woken(queue)
