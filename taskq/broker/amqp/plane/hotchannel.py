"""A channel of ours on a plane: commands with their answers, acks, publishes, and the close handshake both ways.

Commands are answered in the order in which they were sent, so their waits form a queue. What is no answer (deliveries,
confirms, returns, cancels) goes to ``receive`` as it arrives; ``receive`` runs inside the reading of the socket, so it
neither waits nor raises. Pending acks always leave before a command does: a close cannot overtake them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from pamqp import commands
from pamqp.base import Frame

from taskq.broker.amqp.plane import commands as packed
from taskq.broker.amqp.plane.acks import AckLedger
from taskq.broker.amqp.plane.channel import ChannelState
from taskq.broker.amqp.plane.events import Answered, Cancelled, Closed, Confirmed, Delivered, Event, Got, Returned
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.transport import Plane

_TOLD = frozenset((Delivered, Confirmed, Returned))
_Answer = Frame | Got


class HotChannel:
    """One channel. ``gone`` says why it is of no use any more, once it is not; ``on_gone`` is called with it, once."""

    def __init__(
        self,
        plane: Plane,
        number: int,
        *,
        receive: Callable[[Event], None],
        on_gone: Callable[[ChannelGone], None],
        free: Callable[[int], None],
    ) -> None:
        self.number = number
        self.state = ChannelState(number)
        self.gone: ChannelGone | None = None
        self._plane = plane
        self._receive = receive
        self._on_gone = on_gone
        self._free = free
        self._acks = AckLedger()
        self._acks_asked = False
        self._answers: deque[asyncio.Future[_Answer]] = deque()
        self._closing = False

    async def open(self) -> None:
        """Open it. Raises :class:`ChannelGone`."""
        self._plane.add(self)
        await self.call(commands.Channel.Open())

    def ask(self, frame: Frame) -> asyncio.Future[_Answer]:
        """Send a command and return its answer to wait for, which may end with :class:`ChannelGone`."""
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        if self.over:
            answer.set_exception(self.gone or ChannelGone(text="the channel is being closed"))
            answer.exception()  # it may be waited for by nobody
            return answer
        self._answers.append(answer)
        for acks in self.take_acks():
            self._plane.write(acks)
        self._plane.write(packed.command(self.number, frame))
        return answer

    @property
    def over(self) -> bool:
        """Whether nothing can be sent on it any more: after a Close, the broker takes a frame for a grave error."""
        return self.gone is not None or self._closing

    async def call(self, frame: Frame) -> _Answer:
        """Send a command and return its answer. Raises :class:`ChannelGone`."""
        return await self.ask(frame)

    def publish(self, exchange: str, key: str, content: bytes, body: bytes) -> None:
        """Send a publish that must not vanish: what no queue takes comes back."""
        frame_max = self._plane.frame_max
        self._plane.write(
            packed.publish(self.number, exchange, key, content, body, mandatory=True, frame_max=frame_max)
        )

    def ack(self, tag: int) -> None:
        """Acknowledge a delivery, with the others of this turn. Each tag once. After the end it does nothing."""
        if self.over:
            return
        self._acks.finish(tag)
        if not self._acks_asked:
            self._acks_asked = True
            self._plane.acks_of(self)

    def take_acks(self) -> list[bytes]:
        """Return the frames that acknowledge what is finished."""
        self._acks_asked = False
        if self.over:
            return []
        return [packed.ack(self.number, tag, multiple=multiple) for tag, multiple in self._acks.take()]

    async def close(self) -> None:
        """Close it in order: acks first, then the handshake. Harmless when it is gone; never raises for that."""
        if self.over:
            return
        answer = self.ask(commands.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
        self._closing = True
        with suppress(ChannelGone):
            await answer

    async def close_within(self, timeout_s: float) -> None:
        """Close it in order, as far as the broker answers in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.close()

    def dispatch(self) -> None:
        """Hand out what was read."""
        events, self.state.events = self.state.events, []
        receive = self._receive
        for event in events:
            if type(event) in _TOLD:
                receive(event)
            elif isinstance(event, Answered | Got):
                self._answer(event)
            elif isinstance(event, Cancelled):
                self._cancelled(event)
            elif isinstance(event, Closed):
                self._closed(event)

    def lose(self, reason: str) -> None:
        """End it with its connection."""
        self._end(ChannelGone(text=reason))

    def _answer(self, event: Answered | Got) -> None:
        answer: _Answer = event.frame if isinstance(event, Answered) else event
        waiting = self._answers.popleft() if self._answers else None
        if isinstance(answer, commands.Channel.CloseOk):
            self._forget()
            self._end(ChannelGone(text="the channel was closed"))
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _cancelled(self, event: Cancelled) -> None:
        if self._plane.answers_cancel:
            self._plane.write(packed.command(self.number, commands.Basic.CancelOk(consumer_tag=event.consumer)))
        self._receive(event)

    def _closed(self, event: Closed) -> None:
        self._plane.write(packed.command(self.number, commands.Channel.CloseOk()))
        if not self._closing:  # else our own Close is on its way, and the number taken until that is answered
            self._forget()
        self._end(ChannelGone(event.code, event.text))

    def _forget(self) -> None:
        self._plane.remove(self.number)
        self._free(self.number)

    def _end(self, gone: ChannelGone) -> None:
        if self.gone is not None:
            return
        self.gone = gone
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(gone)
                answer.exception()  # a wait that was given up is no error of its own
        self._answers.clear()
        self._on_gone(gone)
