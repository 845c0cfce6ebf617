"""A channel of ours on a plane: commands with their answers, acks, publishes, and the close handshake both ways.

Commands are answered in the order in which they were sent, so their waits form a queue. What is no answer (deliveries,
confirms, returns, cancels) goes to ``receive`` as it arrives; ``receive`` runs inside the reading of the socket, so it
does not wait, and must not raise. Pending acks always leave before a command does, those that wait for others too: a
close cannot overtake them.

When it raises all the same, that is a fault of ours, and told as one. It must not reach the transport, which would end
the connection, and the next one, which gets the same message. A delivery that could not be taken stays unsettled: it
holds its slot, nothing is lost, and the others go on. After any other fault, what we know may not be what the broker
knows: the channel is closed, and the next one of the connection comes after a pause.

Cancelling a wait takes nothing back: the command was sent, and its answer is expected. An open that is cancelled is
followed by a close, which nobody has to wait for; the number is free when the broker has answered that.

When both sides close a channel in the same moment, each answers the other. RabbitMQ may end the channel for our answer
before it has sent its own, and then never does: such a number is free again after a while.

RabbitMQ 3.10 and 4.0 crash a channel, and with it the connection, on a Basic.Cancel that comes before they have
answered the Basic.Consume. Such a cancel is held back until then, and with it all that comes behind it, acks too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from pamqp import commands
from pamqp.base import Frame

from taskq.broker.amqp.plane import commands as packed
from taskq.broker.amqp.plane.channel import ChannelState
from taskq.broker.amqp.plane.events import Answered, Cancelled, Closed, Confirmed, Delivered, Event, Got, Returned
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.pendingacks import PendingAcks
from taskq.broker.amqp.plane.transport import Plane

_TOLD = frozenset((Delivered, Confirmed, Returned))
_Answer = Frame | Got
_UNANSWERED_S = 10.0


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
        self._acks = PendingAcks(number, partial(plane.acks_of, self))
        self._answers: deque[asyncio.Future[_Answer]] = deque()
        self._consumes = 0  # that were sent and are not answered yet
        self._held: deque[tuple[Frame | None, bytes]] = deque()
        self._closing = False
        self._unanswered: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Open it. Raises :class:`ChannelGone`. When the wait is cancelled, it is closed again."""
        try:
            await self._plane.rested()
        except asyncio.CancelledError:
            self._free(self.number)
            raise
        self._plane.add(self)
        try:
            await self.call(commands.Channel.Open())
        except asyncio.CancelledError:
            self.leave()
            raise

    def listen(self, receive: Callable[[Event], None]) -> None:
        """Tell ``receive`` of what arrives from now on."""
        self._receive = receive

    def ask(self, frame: Frame) -> asyncio.Future[_Answer]:
        """Send a command and return its answer to wait for, which may end with :class:`ChannelGone`."""
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        if self.over:
            answer.set_exception(self.gone or ChannelGone(text="the channel is being closed"))
            answer.exception()  # it may be waited for by nobody
            return answer
        command = packed.command(self.number, frame)
        self._answers.append(answer)
        self._send(frame, command)
        return answer

    def tell(self, frames: Iterable[Frame]) -> None:
        """Send commands that the broker does not answer (``nowait``). After the end it does nothing."""
        if not self.over:
            self._send(None, b"".join(packed.command(self.number, frame) for frame in frames))

    @property
    def over(self) -> bool:
        """Whether nothing can be sent on it any more: after a Close, the broker takes a frame for a grave error."""
        return self.gone is not None or self._closing

    async def call(self, frame: Frame) -> _Answer:
        """Send a command and return its answer. Raises :class:`ChannelGone`."""
        return await self.ask(frame)

    def publish(
        self, exchange: str, key: str, content: bytes, body: bytes, *, mandatory: bool = True, now: bool = False
    ) -> None:
        """Send a publish, at the end of this turn or ``now``.

        What no queue takes comes back, or vanishes when it is not ``mandatory``.
        """
        plane = self._plane
        frames = packed.publish(
            self.number, exchange, key, content, body, mandatory=mandatory, frame_max=plane.frame_max
        )
        (plane.write_now if now else plane.write)(frames)

    def ack(self, tag: int) -> None:
        """Acknowledge a delivery, with the others of this turn. Each tag once. After the end it does nothing."""
        if not self.over:
            self._acks.finish(tag)

    def ack_later(self, tag: int, most: int) -> None:
        """Acknowledge a delivery within 5 ms, or with this turn when more than ``most`` wait for that.

        For where the broker has more to give, so that nothing waits for the ack. Each one alone costs the broker a
        command, and a quorum queue a flush of its disk, which what is published next waits for.
        """
        if self.gone is None and not self._closing:  # as `over`, without a call for each job
            self._acks.finish(tag, most)

    def ack_now(self, tag: int) -> None:
        """Acknowledge a delivery at once, where no other can come with it."""
        if not self.over:
            self._acks.note(tag)
            for acks in self.take_acks():
                self._plane.write_now(acks)

    def take_acks(self) -> list[bytes]:
        """Return the frames that acknowledge what is finished."""
        if self.over or self._held:
            self._acks.cancel()
            return []
        return self._acks.take()

    def leave(self) -> asyncio.Future[_Answer] | None:
        """Begin to close it: acks first, then the handshake, which nobody has to wait for. Harmless when it is gone."""
        if self.over:
            return None
        answer = self.ask(commands.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0))
        self._closing = True
        return answer

    async def close(self) -> None:
        """Close it in order, and wait for the broker's answer. Harmless when it is gone; never raises for that."""
        answer = self.leave()
        if answer is not None:
            with suppress(ChannelGone):
                await answer

    async def close_within(self, timeout_s: float) -> None:
        """Close it in order, as far as the broker answers in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.close()

    def dispatch(self) -> None:
        """Hand out what was read. It never raises."""
        events, self.state.events = self.state.events, []
        receive = self._receive
        for event in events:
            try:
                if type(event) in _TOLD:
                    if self.gone is None:
                        receive(event)
                elif isinstance(event, Answered | Got):
                    self._answer(event)
                elif isinstance(event, Cancelled):
                    self._cancelled(event)
                elif isinstance(event, Closed):
                    self._closed(event)
            except Exception as error:
                if isinstance(event, Delivered):
                    self._plane.tell("to take a delivery, which stays unsettled", error)
                else:
                    self.fail(f"to take in {type(event).__name__}", error)

    def fail(self, what: str, error: Exception) -> None:
        """End it because of a fault of ours: ``what`` failed."""
        self._plane.tell(what, error)
        self._plane.rest()
        if not self.over:
            self.ask(commands.Channel.Close(reply_code=541, reply_text="a fault in taskq", class_id=0, method_id=0))
            self._closing = True
        self._end(ChannelGone(text=f"taskq failed {what}: {error!r}"))

    def lose(self, reason: str) -> None:
        """End it with its connection."""
        self._wait_no_more()
        self._end(ChannelGone(text=reason))

    def _answer(self, event: Answered | Got) -> None:
        answer: _Answer = event.frame if isinstance(event, Answered) else event
        waiting = self._answers.popleft() if self._answers else None
        if isinstance(answer, commands.Basic.ConsumeOk):
            self._consumes -= 1
            self._release()
        elif isinstance(answer, commands.Channel.CloseOk):
            self._forget()
            self._end(ChannelGone(text="the channel was closed"))
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _send(self, frame: Frame | None, command: bytes) -> None:
        if self._held or self._has_to_wait(frame):
            self._held.append((frame, command))
            return
        for acks in self.take_acks():
            self._plane.write(acks)
        self._write(frame, command)

    def _write(self, frame: Frame | None, command: bytes) -> None:
        self._consumes += isinstance(frame, commands.Basic.Consume)
        self._plane.write(command)

    def _has_to_wait(self, frame: Frame | None) -> bool:
        return self._consumes > 0 and isinstance(frame, commands.Basic.Cancel)

    def _release(self) -> None:
        """Send what was held back, each cancel with the acks behind it, up to one that has to wait again."""
        while self._held and not self._has_to_wait(self._held[0][0]):
            frame, command = self._held.popleft()
            self._write(frame, command)
            if isinstance(frame, commands.Basic.Cancel):
                self._plane.write(b"".join(self._acks.take()))

    def _cancelled(self, event: Cancelled) -> None:
        if self.gone is not None:
            return
        if self._plane.answers_cancel and not self.over:
            self._plane.write(packed.command(self.number, commands.Basic.CancelOk(consumer_tag=event.consumer)))
        self._receive(event)

    def _closed(self, event: Closed) -> None:
        self._plane.write(packed.command(self.number, commands.Channel.CloseOk()))
        if not self._closing or self._held:
            self._forget()
        else:  # our Close is on its way, and the number taken until it is answered
            self._unanswered = asyncio.get_running_loop().call_later(_UNANSWERED_S, self._forget)
        self._end(ChannelGone(event.code, event.text))

    def _forget(self) -> None:
        self._wait_no_more()
        self._plane.remove(self.number)
        self._free(self.number)

    def _wait_no_more(self) -> None:
        if self._unanswered is not None:
            self._unanswered.cancel()
            self._unanswered = None

    def _end(self, gone: ChannelGone) -> None:
        if self.gone is not None:
            return
        self.gone = gone
        self._held.clear()
        self._acks.cancel()
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(gone)
                answer.exception()  # a wait that was given up is no error of its own
        self._answers.clear()
        try:
            self._on_gone(gone)
        except Exception as fault:
            self._plane.tell("to take in the end of a channel", fault)
