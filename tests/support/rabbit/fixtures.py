"""Fixtures of tests that run on RabbitMQ; a folder's `conftest.py` imports those that it wants.

Each test runs once on each version, see `shared`. A test that leaves a channel or connection error in the broker's log
fails, unless it says with the mark ``broker_problems`` what it provokes: ``@pytest.mark.broker_problems("not_found")``,
where each argument is a pattern, and none allows everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support import rabbit
from tests.support.rabbit import RabbitNode, SharedRabbit

administered = pytest.mark.parametrize("shared_rabbit", rabbit.versions(), ids=rabbit.label, indirect=True)
"""For a test that needs ``shared_rabbit.node``: it runs on nodes of our own, also when a broker is given."""


@pytest.fixture(params=rabbit.brokers(), ids=rabbit.label)
def shared_rabbit(request: pytest.FixtureRequest) -> Iterator[SharedRabbit]:
    """The broker that all tests use; the check of its log is around the test."""
    broker = rabbit.shared(request.param)
    position = broker.log_position()
    yield broker
    fail_on(broker.problems_since(position), request.node)


@pytest.fixture
def amqp_url(shared_rabbit: SharedRabbit) -> Iterator[str]:
    """The URL of a virtual host of the test's own on the shared broker."""
    url = shared_rabbit.new_vhost()
    yield url
    shared_rabbit.drop_vhost(url)


@pytest.fixture(params=rabbit.versions(), ids=rabbit.label)
def own_node(request: pytest.FixtureRequest) -> Iterator[RabbitNode]:
    """A running node of the test's own with nothing on it, to be killed, stopped, paused and started as it likes.

    Its log is not looked at.
    """
    with rabbit.own_node(request.param) as node:
        yield node


@pytest.fixture(params=rabbit.versions(), ids=rabbit.label)
def managed_node(request: pytest.FixtureRequest) -> RabbitNode:
    """A running node with the management plugin, which tests share: each makes virtual hosts of its own.

    Its log is not looked at.
    """
    return rabbit.managed_node(request.param)


@pytest.fixture(params=rabbit.versions(), ids=rabbit.label)
def tls_node(request: pytest.FixtureRequest) -> Iterator[RabbitNode]:
    """A running node that speaks TLS, with a good certificate; tests share it as :func:`managed_node`.

    Its log is not looked at.
    """
    node = rabbit.tls_node(request.param)
    yield node
    assert node.tls is not None
    node.serve(node.tls.good())


def fail_on(problems: list[str], node: pytest.Item) -> None:
    """Fail for what the broker's log tells, unless the test says that it provokes it."""
    allowed = [pattern for mark in node.iter_markers("broker_problems") for pattern in mark.args or ("",)]
    left = [problem for problem in problems if not any(re.search(pattern, problem) for pattern in allowed)]
    if left:
        pytest.fail("\n".join(["the test made the broker complain:", *left]), pytrace=False)
