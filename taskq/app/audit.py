"""What a worker looks at beside its work: bindings of its queues that the program no longer declares."""

from __future__ import annotations

from contextlib import suppress

from taskq.app.connection import Connection
from taskq.errors import BrokerError
from taskq.inspection.bindings import stale_bindings
from taskq.lifecycle import BindingLeft, Emitter


async def report_left_bindings(connection: Connection, emitter: Emitter) -> None:
    """Emit :class:`BindingLeft` for each. A broker that does not tell its bindings leaves nothing to report."""
    declared = connection.registry.bindings()
    if not declared:
        return
    with suppress(BrokerError):
        listing = await connection.broker.inspector.list_bindings()
        for binding in stale_bindings(listing.items, declared):
            emitter.emit(BindingLeft(queue=binding.queue, exchange=binding.exchange, key=binding.key))
