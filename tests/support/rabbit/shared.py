"""The brokers that tests share: one node for each version, started when a test first asks, and used by virtual hosts.

`TASKQ_TEST_RABBITMQ` names the versions, with commas between: `system` (the default), or the folder of a chroot that
`.ci/rabbitmq4` made. With `TASKQ_TEST_AMQP_URL` a broker that runs already is used by all tests which need no control
over it; a node that a test may kill is always started here.
"""

from __future__ import annotations

import base64
import os
import urllib.request
import uuid
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

from tests.support.rabbit.installation import SYSTEM
from tests.support.rabbit.node import RabbitNode
from tests.support.rabbit.own import started

GIVEN = "given"


class SharedRabbit(Protocol):
    """A broker that many tests use. Methods block for some hundredths of a second."""

    @property
    def node(self) -> RabbitNode | None:
        """The node behind it, if it is ours; no test may stop it."""

    def new_vhost(self) -> str:
        """Make an empty virtual host and return its URL."""

    def drop_vhost(self, url: str) -> None:
        """Delete it with all that is in it; its connections are closed."""

    def log_position(self) -> int:
        """Return where the log ends now."""

    def problems_since(self, position: int) -> list[str]:
        """Return what was logged about channel and connection errors since then."""


def versions() -> list[str]:
    """Return the versions under test of which nodes can be started."""
    named = os.environ.get("TASKQ_TEST_RABBITMQ", SYSTEM).split(",")
    return [name.strip() for name in named if name.strip()]


def brokers() -> list[str]:
    """Return what :func:`shared` takes: the given broker alone, or the versions."""
    return [GIVEN] if "TASKQ_TEST_AMQP_URL" in os.environ else versions()


def label(version: str) -> str:
    """Return how tests are called that run on it."""
    return "rabbitmq" if version == SYSTEM else Path(version).name


def shared(version: str = SYSTEM) -> SharedRabbit:
    """Return the broker of that version, started at its first use; it ends with this process.

    Raises :class:`NoRabbitMQ` with what to do, when there is none.
    """
    if version not in _SHARED:
        _SHARED[version] = _given() if version == GIVEN else _OwnRabbit(version)
    return _SHARED[version]


_SHARED: dict[str, SharedRabbit] = {}


class _OwnRabbit:
    """A node of our own."""

    def __init__(self, version: str) -> None:
        self._node = started(version)

    @property
    def node(self) -> RabbitNode:
        return self._node

    def new_vhost(self) -> str:
        return self._node.url(self._node.new_vhost())

    def drop_vhost(self, url: str) -> None:
        self._node.drop_vhost(url.rpartition("/")[2])

    def log_position(self) -> int:
        return self._node.log_position()

    def problems_since(self, position: int) -> list[str]:
        return self._node.problems_since(position)


class _GivenRabbit:
    """A broker that somebody runs: with its management plugin we make virtual hosts, else its own is used as it is."""

    node = None

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._makes_vhosts = self._asked("GET", "overview")

    def new_vhost(self) -> str:
        if not self._makes_vhosts:
            return self._parts.geturl()
        name = f"taskq-test-{uuid.uuid4().hex[:12]}"
        user = quote(unquote(self._parts.username or "guest"), safe="")
        assert self._asked("PUT", f"vhosts/{name}", b"{}")
        assert self._asked("PUT", f"permissions/{name}/{user}", b'{"configure": ".*", "write": ".*", "read": ".*"}')
        return self._parts._replace(path=f"/{name}").geturl()

    def drop_vhost(self, url: str) -> None:
        if self._makes_vhosts:
            self._asked("DELETE", f"vhosts/{urlsplit(url).path[1:]}")

    def log_position(self) -> int:
        return 0

    def problems_since(self, position: int) -> list[str]:
        return []

    def _asked(self, method: str, path: str, body: bytes | None = None) -> bool:
        """Ask its management for something; false when nobody answers there."""
        user, password = unquote(self._parts.username or "guest"), unquote(self._parts.password or "guest")
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        url = f"http://{self._parts.hostname or 'localhost'}:15672/api/{path}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=5) as answer:
                answer.read()
        except OSError:
            return False
        return True


def _given() -> _GivenRabbit:
    return _GivenRabbit(os.environ["TASKQ_TEST_AMQP_URL"])
