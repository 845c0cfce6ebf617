"""A channel to declare and to ask on, which is a new one whenever the broker has closed the last to refuse something.

Many frames are sent in one piece, without waiting for each answer; the broker keeps their order. It says nothing to
those with ``nowait``, so that some in between are asked for an answer, to see how far it got.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

from pamqp.base import Frame

from taskq.broker.amqp.frames import Declaration, answered_once
from taskq.broker.amqp.plane.events import Got
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.hotchannel import HotChannel

OpenChannel = Callable[[], Awaitable[HotChannel]]

_ANSWERED_EACH = 20
_MOST_AT_ONCE = 1000


def _nothing(count: int) -> None:
    """Nobody wants to know how far it got."""


class Line:
    """One channel at a time, and a new one whenever the broker has closed the last.

    All raise :class:`ChannelGone`: with a code for what the broker refuses, without one when the connection is lost.
    ``told`` is called with how many more of the frames were answered.
    """

    def __init__(self, open_channel: OpenChannel) -> None:
        self._open_channel = open_channel
        self._channel: HotChannel | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel is not None:
            self._channel.leave()

    async def call(self, frame: Frame) -> Frame | Got:
        """Send a frame and return the broker's answer."""
        (answer,) = await self._answers([frame])
        if isinstance(answer, ChannelGone):
            raise answer
        return answer

    async def each(
        self, frames: Sequence[Frame], told: Callable[[int], None] = _nothing
    ) -> list[Frame | Got | ChannelGone]:
        """Send frames and return the answer to each, which may be that it was refused.

        A refusal is the end of all that was sent behind it, and so the next goes alone, and after each window of frames
        that nothing was refused of comes one of twice the size.
        """
        answers: list[Frame | Got | ChannelGone] = []
        window = _MOST_AT_ONCE
        while len(answers) < len(frames):
            got = await self._answers(frames[len(answers) : len(answers) + window])
            window = 1 if isinstance(got[-1], ChannelGone) else min(2 * window, _MOST_AT_ONCE)
            answers += got
            told(len(got))
        return answers

    async def taken(self, frames: Sequence[Declaration], told: Callable[[int], None] = _nothing) -> bool:
        """Send frames in one piece. False: the broker refused one; those before it were carried out."""
        if not frames:
            return True
        channel = await self._opened()
        asked: list[tuple[int, asyncio.Future[Frame | Got]]] = []
        for at in range(0, len(frames), _ANSWERED_EACH):
            *others, last = answered_once(frames[at : at + _ANSWERED_EACH])
            channel.tell(others)
            asked.append((len(others) + 1, channel.ask(last)))
        for count, answer in asked:
            try:
                await answer
            except ChannelGone as gone:
                self._refused(gone)
                return False
            told(count)
        return True

    async def all(self, frames: Sequence[Declaration], told: Callable[[int], None] = _nothing) -> None:
        """Have frames carried out."""
        if not await self.taken(frames, told):
            for frame in frames:
                frame.nowait = False
                await self.call(frame)
                told(1)

    async def _answers(self, frames: Sequence[Frame]) -> list[Frame | Got | ChannelGone]:
        """Return the answers up to the first refusal, which is the last then."""
        channel = await self._opened()
        answers: list[Frame | Got | ChannelGone] = []
        for asked in [channel.ask(frame) for frame in frames]:
            try:
                answers.append(await asked)
            except ChannelGone as gone:
                self._refused(gone)
                answers.append(gone)
                break
        return answers

    def _refused(self, gone: ChannelGone) -> None:
        """Go on with another channel, unless it was the connection that went."""
        self._channel = None
        if not gone.code:
            raise gone

    async def _opened(self) -> HotChannel:
        if self._channel is None:
            self._channel = await self._open_channel()
        return self._channel
