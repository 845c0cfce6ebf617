"""Redis with an append-only file that is flushed each second: what it is usually asked to keep jobs with."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from benchmarks.server import NoServer, Server, program


class Redis(Server):
    """One Redis; :meth:`empty` makes it as new."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        settings = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), "--save", "")
        return (program("redis-server"), *settings, "--appendonly", "yes", "--appendfsync", "everysec")

    def answers(self) -> bool:
        try:
            return self._ask(b"PING").startswith(b"+PONG")
        except OSError:
            return False

    def empty(self) -> None:
        """Forget all, in memory and on the disk."""
        for command in (b"FLUSHALL", b"SCRIPT FLUSH", b"BGREWRITEAOF"):
            if not self._ask(command).startswith(b"+"):
                raise NoServer(f"Redis refused {command.decode()}")

    def _ask(self, command: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(command + b"\r\n")
            return connection.recv(1024)
