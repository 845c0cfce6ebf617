"""Making queues, exchanges and bindings exist on RabbitMQ, and asking for them, on channels made for the purpose.

RabbitMQ answers a refusal by closing the channel, and has no transaction over declarations. So :class:`Declarer` first
looks which queues exist, then asks whether those are as declared, and only then makes the missing ones. What can be
refused late is left: a missing permission, a limit, or a second program that makes the same queue otherwise in the
same moment.

Each step is sent in one piece without waiting for each answer (``nowait``; the broker keeps the order), and only when
something in it was refused is it gone through again one by one, to see what it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aio_pika.abc import AbstractChannel
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel
from aiormq.exceptions import ChannelClosed, ChannelLockedResource, ChannelNotFoundEntity, ChannelPreconditionFailed
from pamqp import commands
from pamqp.base import Frame
from pamqp.frame import marshal

from taskq.broker.amqp.faults import error_of, translated
from taskq.broker.amqp.frames import Declaration, answered_once, declaration, deletion, look
from taskq.broker.amqp.mismatch import MOST_PROBES, Probe
from taskq.broker.amqp.topology import Binding, QueueSpec, Topology, queue_specs
from taskq.errors import QueueMismatch, Unroutable
from taskq.tasks.queues import Queue

OpenChannel = Callable[[], AbstractAsyncContextManager[AbstractChannel]]


@dataclass(frozen=True, slots=True)
class Counts:
    """``ready``: messages that wait in a queue. ``consumers``: open ones of all processes."""

    ready: int
    consumers: int


class Declarer:
    """Declares, looks and deletes.

    ``open_channel`` opens a new channel of a connection and closes it at the end, also when the broker has closed it
    already. ``label`` is the broker's URL for people. Every method raises ``BrokerError`` only: ``BrokerUnreachable``
    when the connection is lost, ``AccessRefused`` when a permission is missing, and what is named there. None has a
    deadline: it ends with the connection, or with the caller's patience.
    """

    def __init__(self, open_channel: OpenChannel, *, label: str = "RabbitMQ") -> None:
        self._open_channel = open_channel
        self._label = label

    async def declare(self, queues: Iterable[Queue]) -> frozenset[str]:
        """Make these queues and their dead-letter queues exist; see :meth:`Broker.declare`. Return those it made.

        All or nothing, as far as the module says. Raises :class:`Unroutable`, :class:`QueueMismatch`.
        """
        wanted = {queue.name: queue for queue in queues}.values()
        foreign = [queue.name for queue in wanted if not queue.declare]
        ours = {spec.name: spec for queue in wanted for spec in queue_specs(queue)}
        with translated(self._label, permission="configure"):
            async with _Line(self._open_channel) as line:
                present = await self._present(line, [*foreign, *ours])
                for name in foreign:
                    if name not in present:
                        raise Unroutable(name)
                # Those that exist go first: they are compared before anything is made.
                await self._queues(line, [spec for spec in ours.values() if spec.name in present])
                await self._queues(line, [spec for spec in ours.values() if spec.name not in present])
        return frozenset(ours) - present

    async def apply(self, topology: Topology) -> None:
        """Make all of it exist. Repeating it is harmless.

        Raises :class:`QueueMismatch`, :class:`Unroutable` when the queue of a binding does not exist, and plain
        :class:`BrokerError` for an exchange that exists as another kind.
        """
        with translated(self._label, permission="configure"):
            async with _Line(self._open_channel) as line:
                await line.all([declaration(exchange) for exchange in topology.exchanges])
                await self._queues(line, topology.queues)
        with translated(self._label, permission="write"):
            async with _Line(self._open_channel) as line:
                await line.all([declaration(binding) for binding in topology.bindings])

    async def bind(self, binding: Binding) -> None:
        """Make one binding exist. Raises :class:`Unroutable` when its queue does not."""
        await self.apply(Topology(bindings=(binding,)))

    async def counts(self, queue: str) -> Counts | None:
        """Look at a queue; ``None`` when there is none."""
        with translated(self._label):
            async with _Line(self._open_channel) as line:
                try:
                    answer = await line.call(look(queue))
                except ChannelNotFoundEntity as error:
                    if not _is_missing(error):
                        raise
                    return None
        assert isinstance(answer, commands.Queue.DeclareOk)
        return Counts(answer.message_count or 0, answer.consumer_count or 0)

    async def delete(self, queue: str) -> None:
        """Delete a queue and its messages. One that does not exist is no error."""
        with translated(self._label, permission="configure"):
            async with _Line(self._open_channel) as line:
                await line.call(deletion(queue))

    async def _present(self, line: _Line, names: Sequence[str]) -> set[str]:
        if await line.taken([look(name) for name in names]):
            return set(names)
        return {name for name in names if await self._exists(line, name)}

    async def _exists(self, line: _Line, name: str) -> bool:
        try:
            await line.call(look(name))
        except ChannelNotFoundEntity as error:
            if not _is_missing(error):
                raise
            return False
        except ChannelLockedResource:
            raise QueueMismatch(name, {"exclusive": (False, True)}) from None
        return True

    async def _queues(self, line: _Line, specs: Sequence[QueueSpec]) -> None:
        if await line.taken([declaration(spec) for spec in specs]):
            return
        for spec in specs:
            try:
                await line.call(declaration(spec))
            except (ChannelPreconditionFailed, ChannelLockedResource) as error:
                raise await self._mismatch(line, spec, _text(error)) or error from None

    async def _mismatch(self, line: _Line, spec: QueueSpec, text: str) -> QueueMismatch | None:
        """Ask until all differences are known. ``None`` when the refusal is about something else."""
        probe = Probe(spec)
        for _ in range(MOST_PROBES):
            if not probe.learn(text):
                break
            try:
                await line.call(declaration(probe.next))
            except (ChannelPreconditionFailed, ChannelLockedResource) as error:
                text = _text(error)
            else:
                probe.agreed()
                break
        return QueueMismatch(spec.name, probe.differences) if probe.differences else None


class _Line:
    """One channel at a time, and a new one whenever the broker has closed the last."""

    def __init__(self, open_channel: OpenChannel) -> None:
        self._open_channel = open_channel
        self._stack = AsyncExitStack()
        self._channel: Channel | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def call(self, frame: Frame) -> object:
        """Send a frame and return the broker's answer."""
        channel = await self._opened()
        try:
            return await channel.rpc(frame)
        except ChannelClosed:
            self._channel = None
            await self._stack.aclose()
            raise

    async def taken(self, frames: Sequence[Declaration]) -> bool:
        """Send frames in one piece. False: the broker refused one; those before it were carried out."""
        if not frames:
            return True
        *others, last = answered_once(frames)
        channel = await self._opened()
        # One by one, frames could fill the client's small queue, and then it has no room to answer a refusal.
        payload = b"".join(marshal(frame, channel.number) for frame in others)
        await _frames_of(channel).put(ChannelFrame(payload, should_close=False))
        try:
            await self.call(last)
        except ChannelClosed:
            return False
        return True

    async def all(self, frames: Sequence[Declaration]) -> None:
        """Have frames carried out; raises what the broker refuses one of them with."""
        if not await self.taken(frames):
            for frame in frames:
                frame.nowait = False
                await self.call(frame)

    async def _opened(self) -> Channel:
        if self._channel is None:
            opened = await self._stack.enter_async_context(self._open_channel())
            channel = await opened.get_underlay_channel()
            assert isinstance(channel, Channel)
            self._channel = channel
        return self._channel


def _frames_of(channel: Channel) -> asyncio.Queue[ChannelFrame]:
    return channel.write_queue  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _text(error: ChannelClosed) -> str:
    return str(error.args[-1])


def _is_missing(error: ChannelNotFoundEntity) -> bool:
    """Not so when a queue is there, and its node is not: that is a 404, too."""
    return isinstance(error_of(error, ""), Unroutable)
