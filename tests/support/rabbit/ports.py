"""Ports for servers that the tests start."""

from __future__ import annotations

import random
import socket

# Below those that the system gives to outgoing connections: such a one could take the port of a server that is down,
# and a client that connects again and again could even reach itself.
_PORTS = range(10_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Return TCP ports of the loopback that nobody has now."""
    chance = random.SystemRandom()
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            each = socket.socket()
            sockets.append(each)
            try:
                each.bind(("127.0.0.1", chance.choice(_PORTS)))
            except OSError:
                sockets.pop().close()
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
