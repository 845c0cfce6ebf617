"""Making queues, exchanges and bindings exist on RabbitMQ, and asking for them, on channels made for the purpose.

RabbitMQ answers a refusal by closing the channel, and has no transaction over declarations. So :class:`Declarer` first
looks which queues and exchanges exist, then asks whether those are as declared, and only then makes the missing ones,
and the bindings at last. What can be refused late is left: a missing permission, a limit, or a second program that
makes the same queue otherwise in the same moment.

Declaring what exists needs the right to configure it. A program that has not got it uses what it finds, which is then
not compared: an operator may have made everything, and leave programs without that right.

Each step is sent in one piece, see :class:`Line`, and only when a declaration in it was refused is it gone through
again one by one, to see which it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pamqp import commands
from pamqp.base import Frame

from taskq.broker.amqp.faults import translated
from taskq.broker.amqp.frames import (
    Declaration,
    declaration,
    deletion,
    look,
    look_at_exchange,
    unbinding,
)
from taskq.broker.amqp.line import Line, OpenChannel
from taskq.broker.amqp.mismatch import MOST_PROBES, Probe, exchange_mismatch
from taskq.broker.amqp.patience import Progress
from taskq.broker.amqp.plane.events import Got
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.refusals import is_missing, no_exchange
from taskq.broker.amqp.topology import (
    BindingSpec,
    ExchangeSpec,
    QueueSpec,
    Topology,
    binding_spec,
    exchange_spec,
    queue_specs,
)
from taskq.errors import BrokerError, QueueMismatch, Unroutable
from taskq.tasks.exchanges import Binding, ExchangeDefinition
from taskq.tasks.queues import Queue

_REFUSED, _NOT_FOUND, _LOCKED, _DIFFERS = 403, 404, 405, 406

_Spec = ExchangeSpec | QueueSpec
_Place = tuple[type[_Spec], str]
_Answer = Frame | Got | ChannelGone


class Counts(NamedTuple):
    """``ready``: messages that wait in a queue. ``consumers``: open ones of all processes."""

    ready: int
    consumers: int


class Declarer:
    """Declares, looks and deletes.

    ``open_channel`` opens a new channel of a connection. ``label`` is the broker's URL for people. Every method raises
    ``BrokerError`` only: ``BrokerUnreachable`` when the connection is lost, ``AccessRefused`` when a permission is
    missing, and what is named there. None has a deadline: it ends with the connection, or with the caller's patience,
    who may look at its ``progress``.
    """

    def __init__(self, open_channel: OpenChannel, *, label: str = "RabbitMQ") -> None:
        self._open_channel = open_channel
        self._label = label

    async def declare(
        self,
        queues: Iterable[Queue],
        exchanges: Iterable[ExchangeDefinition] = (),
        bindings: Iterable[Binding] = (),
        *,
        progress: Progress | None = None,
    ) -> frozenset[str]:
        """Make all of it and the dead-letter queues exist; see :meth:`Broker.declare`. Return the queues it made.

        All or nothing, as far as the module says. Raises :class:`Unroutable`, :class:`QueueMismatch`,
        :class:`ExchangeMismatch`, and plain :class:`BrokerError` for an exchange that does not exist.
        """
        wanted, progress = _Wanted.of(queues, exchanges, bindings), progress or Progress()
        with translated(self._label, permission="configure"):
            async with Line(self._open_channel) as line:
                present = await self._present(line, wanted.places, progress)
                wanted.check(present, self._label)
                progress.begin("declared {} queues and exchanges", len(wanted.ours))
                # Those that exist go first: they are compared before anything is made.
                await self._make(line, [spec for place, spec in wanted.ours.items() if place in present], progress)
                await self._make(line, [spec for place, spec in wanted.ours.items() if place not in present], progress)
                await self._bind(line, wanted.bindings, progress)
        return frozenset(name for kind, name in wanted.ours.keys() - present if kind is QueueSpec)

    async def apply(self, topology: Topology, *, whole: bool = False) -> None:
        """Make all of it exist. Repeating it is harmless.

        ``whole``: it was made in one go, so that a program without the right to is content when queues and exchanges
        are all there. Raises :class:`QueueMismatch`, :class:`ExchangeMismatch`, :class:`Unroutable` when the queue of a
        binding does not exist, and plain :class:`BrokerError` when its exchange does not.
        """
        progress = Progress()
        specs: list[_Spec] = [*topology.exchanges, *topology.queues]
        with translated(self._label, permission="configure"):
            async with Line(self._open_channel) as line:
                try:
                    await self._make(line, specs, progress, as_found=not whole)
                    await self._bind(line, topology.bindings, progress)
                except ChannelGone as gone:
                    if not whole or gone.code != _REFUSED or not await self._all_exist(line, specs):
                        raise

    async def bind(self, binding: BindingSpec) -> None:
        """Make one binding exist. Raises :class:`Unroutable` when its queue does not."""
        await self.apply(Topology(bindings=(binding,)))

    async def unbind(self, binding: Binding) -> None:
        """Make a binding not exist. One that does not exist is no error, nor is a missing queue or exchange."""
        with translated(self._label, permission="bind"):
            async with Line(self._open_channel) as line:
                try:
                    await line.call(unbinding(binding_spec(binding)))
                except ChannelGone as gone:
                    if not _is_missing(gone):
                        raise

    async def counts(self, queue: str) -> Counts | None:
        """Look at a queue; ``None`` when there is none. Raises :class:`QueueMismatch` for an exclusive one."""
        found, locked = await self.counts_of([queue])
        for each in locked:
            raise exclusive(each)
        return found.get(queue)

    async def counts_of(
        self, queues: Iterable[str], progress: Progress | None = None
    ) -> tuple[dict[str, Counts], list[str]]:
        """Look at queues. Return those that exist, and the names of those that other connections have to themselves."""
        places = [(QueueSpec, queue) for queue in queues]
        with translated(self._label):
            async with Line(self._open_channel) as line:
                seen = await self._seen(line, places, progress or Progress())
        found = {
            name: Counts(answer.message_count or 0, answer.consumer_count or 0)
            for (_, name), answer in seen.items()
            if isinstance(answer, commands.Queue.DeclareOk)
        }
        return found, [name for (_, name), answer in seen.items() if isinstance(answer, ChannelGone)]

    async def exchanges_of(self, exchanges: Iterable[str]) -> list[str]:
        """Return those that exist."""
        places = [(ExchangeSpec, exchange) for exchange in exchanges]
        with translated(self._label):
            async with Line(self._open_channel) as line:
                return [name for _, name in await self._seen(line, places, Progress())]

    async def delete(self, queue: str) -> None:
        """Delete a queue and its messages. One that does not exist is no error."""
        with translated(self._label, permission="configure"):
            async with Line(self._open_channel) as line:
                await line.call(deletion(queue))

    async def _present(self, line: Line, places: Sequence[_Place], progress: Progress) -> set[_Place]:
        seen = await self._seen(line, places, progress)
        for (_, name), answer in seen.items():
            if isinstance(answer, ChannelGone):
                raise exclusive(name)
        return set(seen)

    async def _seen(self, line: Line, places: Sequence[_Place], progress: Progress) -> dict[_Place, _Answer]:
        """Return what the broker says of those that exist; of a queue of another connection, that it is locked."""
        progress.begin("looked at {} queues and exchanges", len(places))
        answers = await line.each([_look(place) for place in places], progress.step)
        seen: dict[_Place, _Answer] = {}
        for place, answer in zip(places, answers, strict=True):
            if not isinstance(answer, ChannelGone) or answer.code == _LOCKED:
                seen[place] = answer
            elif not _is_missing(answer):
                raise answer
        return seen

    async def _make(self, line: Line, specs: Sequence[_Spec], progress: Progress, *, as_found: bool = True) -> None:
        """``as_found``: take those that exist and may not be declared."""
        if await line.taken([declaration(spec) for spec in specs], progress.step):
            return
        for spec in specs:
            try:
                await line.call(declaration(spec))
            except ChannelGone as gone:
                if gone.code in (_DIFFERS, _LOCKED):
                    raise await self._mismatch(line, spec, gone.text) or gone from None
                if gone.code != _REFUSED or not as_found or not await self._all_exist(line, [spec]):
                    raise
            progress.step()

    async def _all_exist(self, line: Line, specs: Sequence[_Spec]) -> bool:
        places = [(type(spec), spec.name) for spec in specs]
        return len(await self._seen(line, places, Progress())) == len(places)

    async def _bind(self, line: Line, bindings: Sequence[BindingSpec], progress: Progress) -> None:
        progress.begin("declared all queues and exchanges and {} bindings", len(bindings))
        with translated(self._label, permission="bind"):
            await line.all([declaration(binding) for binding in bindings], progress.step)

    async def _mismatch(self, line: Line, spec: _Spec, text: str) -> BrokerError | None:
        """Ask until all differences are known. ``None`` when the refusal is about something else."""
        if isinstance(spec, ExchangeSpec):
            return exchange_mismatch(text, spec)
        probe = Probe(spec)
        for _ in range(MOST_PROBES):
            if not probe.learn(text):
                break
            try:
                await line.call(declaration(probe.next))
            except ChannelGone as gone:
                if gone.code not in (_DIFFERS, _LOCKED):
                    raise
                text = gone.text
            else:
                probe.agreed()
                break
        return QueueMismatch(spec.name, probe.differences) if probe.differences else None


class _Wanted(NamedTuple):
    """What is to exist. ``ours``: what is made where it is missing; ``others``: what has to be there."""

    ours: dict[_Place, _Spec]
    others: tuple[_Place, ...]
    bindings: tuple[BindingSpec, ...]

    @classmethod
    def of(
        cls, queues: Iterable[Queue], exchanges: Iterable[ExchangeDefinition], bindings: Iterable[Binding]
    ) -> _Wanted:
        wanted = {queue.name: queue for queue in queues}.values()
        known = {exchange.name: exchange for exchange in exchanges}.values()
        bound = tuple(dict.fromkeys(binding_spec(binding) for binding in bindings))
        made = [exchange_spec(each) for each in known if each.declare]
        ours: dict[_Place, _Spec] = {(ExchangeSpec, spec.name): spec for spec in made}
        ours.update({(QueueSpec, spec.name): spec for queue in wanted for spec in queue_specs(queue)})
        others: list[_Place] = [(QueueSpec, queue.name) for queue in wanted if not queue.declare]
        others += [(ExchangeSpec, each.name) for each in known if not each.declare]
        for spec in bound:
            others += [(ExchangeSpec, spec.source), (QueueSpec, spec.destination)]
        return cls(ours, tuple(place for place in dict.fromkeys(others) if place not in ours), bound)

    @property
    def places(self) -> Sequence[_Place]:
        return [*self.others, *self.ours]

    def check(self, present: set[_Place], label: str) -> None:
        """Raise the error of the first that has to be there and is not."""
        for kind, name in self.others:
            if (kind, name) not in present:
                raise Unroutable(name) if kind is QueueSpec else no_exchange(name, label)


def _is_missing(gone: ChannelGone) -> bool:
    return gone.code == _NOT_FOUND and is_missing(gone.text)


def exclusive(queue: str) -> QueueMismatch:
    """Return the error of a queue that another connection has to itself."""
    return QueueMismatch(queue, {"exclusive": (False, True)})


def _look(place: _Place) -> Declaration:
    kind, name = place
    return look(name) if kind is QueueSpec else look_at_exchange(name)
