"""RabbitMQ for the tests: nodes of their own, and one node for each version that they share.

Importing it starts nothing and looks at nothing. Fixtures are in `fixtures`.
"""

from tests.support.rabbit.installation import SYSTEM, NoRabbitMQ
from tests.support.rabbit.node import RabbitNode
from tests.support.rabbit.own import managed_node, own_node, tls_node
from tests.support.rabbit.shared import SharedRabbit, brokers, label, shared, versions

__all__ = [
    "SYSTEM",
    "NoRabbitMQ",
    "RabbitNode",
    "SharedRabbit",
    "brokers",
    "label",
    "managed_node",
    "own_node",
    "shared",
    "tls_node",
    "versions",
]
