"""When the acks of a channel leave: with this turn of the loop, or together with others within a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from taskq.broker.amqp.plane.acks import AckLedger
from taskq.broker.amqp.plane.commands import ack

ACK_WITHIN_S = 0.005
"""How long an ack waits for others at most, where nobody waits for it."""


class PendingAcks:
    """Of channel ``number``. ``ask``: have :meth:`take` called at the end of this turn."""

    def __init__(self, number: int, ask: Callable[[], None]) -> None:
        self._number = number
        self._ask = ask
        self._ledger = AckLedger()
        self._asked = False
        self._due: asyncio.TimerHandle | None = None

    def finish(self, tag: int, most: int = 0) -> None:
        """Take note that a delivery is settled, each tag once.

        All leave within :data:`ACK_WITHIN_S`, and with this turn when there are more than ``most``.
        """
        if self._ledger.finish(tag) <= most:
            if self._due is None:
                self._due = asyncio.get_running_loop().call_later(ACK_WITHIN_S, self._leave)
        elif not self._asked:
            self._leave()

    def take(self) -> list[bytes]:
        """Return the frames of all, and count these as acked."""
        self.cancel()
        return [ack(self._number, tag, multiple=multiple) for tag, multiple in self._ledger.take()]

    def note(self, tag: int) -> None:
        """Take note that a delivery is settled, for the next :meth:`take`."""
        self._ledger.finish(tag)

    def _leave(self) -> None:
        if not self._asked:
            self._asked = True
            self._ask()

    def cancel(self) -> None:
        """Let none leave by itself any more."""
        self._asked = False
        if self._due is not None:
            self._due.cancel()
            self._due = None
