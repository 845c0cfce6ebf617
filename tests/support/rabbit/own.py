"""A node that a test has to itself: it may kill, stop and pause it.

A start takes seconds. So a node that runs at the end of its test is emptied and handed to the next.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.rabbit.installation import SYSTEM
from tests.support.rabbit.node import RabbitNode

_IDLE: dict[str, RabbitNode] = {}


@contextmanager
def own_node(version: str = SYSTEM) -> Iterator[RabbitNode]:
    """Have a running node with nothing on it; afterwards it may be in any state."""
    node = _IDLE.pop(version, None) or started(version)
    try:
        yield node
        if node.running:
            node.empty()
            _IDLE[version] = node
    finally:
        if node not in _IDLE.values():
            node.close()


def managed_node(version: str = SYSTEM) -> RabbitNode:
    """Return the node of that version that has the management plugin, which tests share by virtual hosts."""
    if version not in _MANAGED:
        _MANAGED[version] = started(version, management=True)
    return _MANAGED[version]


_MANAGED: dict[str, RabbitNode] = {}


def tls_node(version: str = SYSTEM) -> RabbitNode:
    """Return the node of that version that speaks TLS, also to its management API; tests share it."""
    if version not in _TLS:
        _TLS[version] = started(version, management=True, tls=True)
    return _TLS[version]


_TLS: dict[str, RabbitNode] = {}


def started(version: str, *, management: bool = False, tls: bool = False) -> RabbitNode:
    """Return a new node that runs, and ends with this process at the latest.

    A version that has not come up once is not tried again: no test needs to wait for that as long as the first.
    """
    if version in _DOWN:
        raise AssertionError(_DOWN[version])
    node, owner = RabbitNode(version, management=management, tls=tls), os.getpid()

    def end() -> None:
        if os.getpid() == owner:  # not when a forked child ends
            node.close()

    atexit.register(end)
    try:
        node.start()
    except AssertionError as error:
        _DOWN[version] = str(error)
        node.close()
        raise
    return node


_DOWN: dict[str, str] = {}
