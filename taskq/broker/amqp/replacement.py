"""When the publisher's channel is replaced since it refused a message, and how it is left.

Theory of operation. RabbitMQ looks the leader of a quorum queue up once for each channel. One that was dead or paused
then has the channel refuse (nack) all for that queue, slowly, until its node is back, though another node has long been
leading. On another channel all is well. What is in flight is waited for, so that it is not sent twice, but not for
long: such a channel may hold it up for minutes. It never decides what becomes of a message.
"""

from __future__ import annotations

import asyncio

from taskq.broker.amqp.link import Link
from taskq.broker.amqp.outbox import Publish
from taskq.broker.amqp.plane.confirms import ConfirmLedger
from taskq.broker.amqp.plane.hotchannel import HotChannel

_DRAINED_S = 2.0
_EVERY_S = 1.0
_COPIED_EVERY_S = 10.0  # after what was in flight had to be sent again


class Replacement:
    """For one publisher. A queue may refuse all for good, so that a channel is replaced once in a while only."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due_at = 0.0  # the loop's time

    @property
    def due(self) -> bool:
        """Whether a channel that refuses a message now is to be replaced."""
        return self._loop.time() >= self._due_at

    async def leave(self, link: Link, channel: HotChannel, in_flight: ConfirmLedger[Publish]) -> None:
        """Let what is in flight be confirmed, for a while, and close the channel. Harmless when it is gone."""
        if waiting := [publish.confirmed for publish in in_flight]:
            await asyncio.wait(waiting, timeout=_DRAINED_S)
        self._due_at = self._loop.time() + (_COPIED_EVERY_S if in_flight else _EVERY_S)
        await channel.close_within(_DRAINED_S)
        if channel.gone is None:
            link.plane.abort("the broker does not close a channel that refused a message")
