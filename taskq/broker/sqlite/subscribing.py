"""The operations that open and close consumers and inboxes, and end a broker."""

from __future__ import annotations

from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.membership import Membership
from taskq.broker.sqlite.operation import Operation
from taskq.broker.sqlite.subscription import Subscription


class Subscribe(Operation[None]):
    """Open a subscription. Raises :class:`Unroutable` when its queue does not exist, and what its check raises."""

    @property
    def what(self) -> str:
        return f"a subscription to queue {self._subscription.name!r}"

    def __init__(self, membership: Membership, subscription: Subscription) -> None:
        self._membership = membership
        self._subscription = subscription

    def run(self, batch: Batch) -> None:
        self._subscription.check(batch)
        self._subscription.insert(batch, self._membership.row)

    def committed(self, result: None) -> None:
        self._membership.add(self._subscription)


class Unsubscribe(Operation[None]):
    """Close a subscription; what it holds goes back. One that was never stored is let be: its row is another's."""

    patient = True

    def __init__(self, membership: Membership, subscription: Subscription) -> None:
        self._membership = membership
        self._subscription = subscription

    def run(self, batch: Batch) -> None:
        if self._membership.has(self._subscription):
            self._subscription.delete(batch)

    def committed(self, result: None) -> None:
        self._membership.discard(self._subscription)


class Deregister(Operation[None]):
    """Remove the row of this process, and what is still its own; the last operation of an engine."""

    patient = True

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def run(self, batch: Batch) -> None:
        self._membership.deregister(batch)

    def committed(self, result: None) -> None:
        self._membership.deregistered()
