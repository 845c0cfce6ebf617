"""Tests of what taskq does to a real RabbitMQ."""

from tests.support.rabbit.fixtures import amqp_url, own_node, shared_rabbit

__all__ = ["amqp_url", "own_node", "shared_rabbit"]
