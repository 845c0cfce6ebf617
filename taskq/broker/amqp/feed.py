"""What a queue's deliveries come from: one AMQP consumer at a time, whose prefetch is what the slots leave.

Theory of operation. The broker bounds what it hands out by the prefetch of an AMQP consumer, which is fixed when that
is made. A slot may be taken although the broker has no delivery open for it: a settle keeps it (its thread still runs),
or the delivery's channel or connection went, and its job runs on; or there are to be other slots. So the AMQP consumer
is *refitted* then: cancelled, before the ack goes out where there is one, and made again with another prefetch, or not
at all while that is 0. Thus

    prefetch of the AMQP consumer = slots - those that are taken by anything but its own deliveries

is kept by refitting whenever it does not hold, see :class:`Slots`; in the normal course it always holds.

A quorum queue takes back what is on its way to an AMQP consumer that is cancelled, and counts that as a redelivery. So
acks are *withheld* before the cancel, until all of the prefetch has arrived, or the queue has nothing more to give;
then nothing is on its way. They go out behind the cancel.

While most slots are free, the broker has handed out all that there is, and nothing waits for an ack. Such acks go out
together, a few milliseconds later: see :meth:`HotChannel.ack_later`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from pamqp import commands
from pamqp.base import Frame

from taskq.broker.amqp.plane.commands import consume
from taskq.broker.amqp.plane.events import Got
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.slots import Slots

_CLOSE_S = 5.0
_SHARE_IN_USE = 4  # one in so many slots is few
_QUIET_S, _LOOK_S = 1.0, 0.005  # how long to wait for what is on its way, and how often to look


class Feed:
    """Consumes ``queue``. ``channel``: where, while it does."""

    def __init__(self, queue: str, slots: int) -> None:
        self.slots: Slots[HotChannel] = Slots(slots)
        self.channel: HotChannel | None = None
        self._queue = queue
        self._tag = 0  # of the AMQP consumer that was asked for last
        self._prefetch = 0  # and its prefetch; 0 when it was cancelled
        self._few = 0  # slots of it: with no more in use, nothing waits for an ack
        self._cancelling: asyncio.Future[Frame | Got] | None = None
        self._withholding = False
        self._withheld: list[int] = []
        self._refitting: asyncio.Task[None] | None = None
        self._stopped = False

    async def open(self, channel: HotChannel) -> None:
        """Consume on ``channel`` from now on, as soon as there is a slot. Raises :class:`ChannelGone`."""
        self.leave()
        self.channel = channel
        self.slots.enter(channel)
        if spare := self.slots.spare:
            await self._consume(channel, spare)

    def leave(self) -> None:
        """Consume no more, where the broker has ended the AMQP consumer or the channel; what runs there, runs on."""
        self.slots.leave()
        self.channel, self._cancelling, self._prefetch = None, None, 0
        self._withholding, self._withheld = False, []

    async def stop(self) -> None:
        """Consume no more, for good. It waits for the broker to say so, and no longer than a moment."""
        self._stopped = True
        if self._refitting is not None:
            self._refitting.cancel()
            await asyncio.gather(self._refitting, return_exceptions=True)
        if (channel := self.channel) is not None:
            with suppress(ChannelGone, TimeoutError):
                async with asyncio.timeout(_QUIET_S):
                    await self._cancel_quietly(channel)
            if channel is self.channel:
                self._cancel(channel)
        if self._cancelling is not None:
            await asyncio.wait({self._cancelling}, timeout=_CLOSE_S)

    async def fit(self, slots: int) -> None:
        """Have so many slots from now on, 0 to consume nothing, and wait until the broker keeps to that.

        It also waits until the broker has taken note of the acks that went out before.
        """
        self.slots.resize(slots)
        if self.slots.spare != self._prefetch:
            self._refit()
        while self._refitting is not None and not self._refitting.done():
            await asyncio.wait({self._refitting})
        channels = {*self.slots.places, *filter(None, [self.channel])}
        # A channel is served in order. The number is for consumers to come, each of which says its own.
        asked = [channel.ask(commands.Basic.Qos(prefetch_count=max(1, slots))) for channel in channels]
        await asyncio.gather(*asked, return_exceptions=True)

    def give(self, channel: HotChannel, tag: int, *, keep: bool) -> None:
        """Free the slot of a delivery that is settled or lost, or ``keep`` it until :meth:`free`."""
        if keep:
            self.slots.keep()
        self.slots.give(channel, tag)
        if self.slots.spare != self._prefetch:
            self._refit()

    def acknowledge(self, channel: HotChannel, tag: int, *, keep: bool) -> None:
        """Take a delivery from the broker's books, and free or keep its slot."""
        if (keep or self._withholding) and self._prefetch and self.slots.is_own(channel, tag):
            self._withheld.append(tag)  # it leaves behind the cancel: the broker fills no slot in between
        elif self._prefetch == 1:
            channel.ack_now(tag)  # the next delivery waits for it, and there is no other to come with it
        else:
            channel.ack_later(tag, self._few - len(self.slots.own))
        self.give(channel, tag, keep=keep)

    def free(self) -> None:
        """Use a slot again that was kept."""
        self.slots.free()
        self._refit()

    async def _consume(self, channel: HotChannel, prefetch: int) -> None:
        self._tag += 1
        self._prefetch = prefetch
        self._few = prefetch // _SHARE_IN_USE
        qos = channel.ask(commands.Basic.Qos(prefetch_count=prefetch))
        await channel.call(consume(self._queue, str(self._tag)))
        await qos

    async def _cancel_quietly(self, channel: HotChannel) -> None:
        """Cancel when nothing is on its way any more. Raises :class:`ChannelGone`."""
        until = asyncio.get_running_loop().time() + _QUIET_S
        self._withholding = True
        while len(self.slots.own) + len(self._withheld) < self._prefetch and asyncio.get_running_loop().time() < until:
            state = await channel.call(commands.Queue.Declare(queue=self._queue, passive=True))
            if channel is not self.channel or not getattr(state, "message_count", 0):
                break
            await asyncio.sleep(_LOOK_S)
        if channel is self.channel:
            self._cancel(channel)

    def _cancel(self, channel: HotChannel) -> None:
        if self._prefetch:
            self._prefetch = 0
            self._cancelling = channel.ask(commands.Basic.Cancel(consumer_tag=str(self._tag)))
        withheld, self._withheld, self._withholding = self._withheld, [], False
        for tag in withheld:
            channel.ack(tag)

    def _refit(self) -> None:
        channel = self.channel
        if self._stopped or channel is None or channel.over:
            return
        if self._refitting is None or self._refitting.done():
            self._refitting = asyncio.create_task(self._refitted(channel), name="taskq: prefetch")

    async def _refitted(self, channel: HotChannel) -> None:
        """Cancel and consume until the prefetch is what the slots leave."""
        with suppress(ChannelGone):
            while channel is self.channel:
                if (cancelling := self._cancelling) is not None:
                    await asyncio.shield(cancelling)
                    if self._cancelling is cancelling:
                        self.slots.set_apart()
                        self._cancelling = None
                    continue
                wanted = self.slots.spare
                if wanted == self._prefetch:
                    return
                if self._prefetch:
                    await self._cancel_quietly(channel)
                else:
                    await self._consume(channel, wanted)
