"""Tests of what taskq does to a real RabbitMQ."""

from tests.support.rabbit.fixtures import amqp_url, managed_node, own_node, shared_rabbit, tls_node

__all__ = ["amqp_url", "managed_node", "own_node", "shared_rabbit", "tls_node"]
