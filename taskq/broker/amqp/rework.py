"""One pass over the messages of a queue, each of which is left, or replaced by what is published first.

A message is acknowledged when all that replaces it is confirmed, and not before. What is left stays taken until the
end, so that nothing is offered twice; the broker has it back when the channel is closed. When the channel is lost, so
is the claim on the messages: what was not sent by then is not sent any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from taskq.broker.amqp.faults import error_of, lost
from taskq.broker.amqp.patience import Patience, Progress
from taskq.broker.amqp.plane.commands import get
from taskq.broker.amqp.plane.events import Got
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.received import received
from taskq.broker.protocol import Outgoing
from taskq.errors import BrokerError
from taskq.wire.message import Message

AT_ONCE = 100

Decide = Callable[[Message], Sequence[Outgoing] | None]


class Reworked(Protocol):
    """What a rework needs of its broker."""

    @property
    def label(self) -> str: ...

    @property
    def patience(self) -> Patience: ...

    def publish(self, outgoing: Outgoing, *, timeout_s: float) -> asyncio.Future[None]: ...


class Rework:
    """``settled``: how many messages were replaced or dropped; ``left``: how many were taken and were not."""

    def __init__(self, broker: Reworked, queue: str, decide: Decide) -> None:
        self.settled = self._taken = 0
        self._broker = broker
        self._queue = queue
        self._decide = decide
        self._confirms: set[asyncio.Future[None]] = set()

    @property
    def left(self) -> int:
        return self._taken - self.settled

    async def run(self, channel: HotChannel, count: int) -> None:
        """Offer the next ``count`` messages that are ready. Raises :class:`BrokerError`, and what ``decide`` raises.

        Each page and each publish has a deadline.
        """
        while count > 0:
            size = min(AT_ONCE, count)
            page = await self._broker.patience.once(partial(self._page, channel, size))
            self._taken += len(page)
            count = count - len(page) if page else 0
            await self._offer(channel, page)

    def give_up(self, gone: ChannelGone) -> None:
        """Publish no more: the messages are somebody else's now."""
        for confirm in self._confirms:
            confirm.cancel()

    async def _page(self, channel: HotChannel, size: int, progress: Progress) -> list[Got]:
        return await take(channel, self._queue, size, self._broker.label)

    async def _offer(self, channel: HotChannel, page: Sequence[Got]) -> None:
        """Settle those messages that are not left. Raises the first error, when all of them have ended."""
        settling: list[Awaitable[None]] = []
        try:
            for got in page:
                replacements = self._decide(received(got).message)
                if replacements is not None:
                    settling.append(self._settle(channel, got, replacements))
        finally:
            ended = await asyncio.gather(*settling, return_exceptions=True)
        if channel.gone is not None:
            raise lost(self._broker.label, channel.gone.text)
        for error in ended:
            if error is not None:
                raise error

    async def _settle(self, channel: HotChannel, got: Got, replacements: Sequence[Outgoing]) -> None:
        timeout_s = self._broker.patience.timeout_s
        confirms = [asyncio.ensure_future(self._broker.publish(each, timeout_s=timeout_s)) for each in replacements]
        self._confirms.update(confirms)
        try:
            await asyncio.gather(*confirms)
        finally:
            self._confirms.difference_update(confirms)
        if not channel.over:
            channel.ack(got.tag)
            self.settled += 1


async def take(channel: HotChannel, queue: str, size: int, label: str) -> list[Got]:
    """Take up to ``size`` messages out of a queue. Raises :class:`BrokerError`; ``label`` is the broker's."""
    answers = [channel.ask(get(queue)) for _ in range(size)]
    try:
        return [answer for answer in await asyncio.gather(*answers) if isinstance(answer, Got)]
    except ChannelGone as gone:
        raise error_of(gone, label, permission="read") or BrokerError(f"{label}: {gone}") from None
