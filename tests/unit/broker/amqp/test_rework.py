"""One pass over a queue: nothing is acknowledged before its copies are confirmed, and what failed stays."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from taskq.broker.amqp.patience import Patience
from taskq.broker.amqp.plane.hotchannel import HotChannel
from taskq.broker.amqp.rework import Rework
from taskq.broker.protocol import Outgoing
from taskq.errors import BrokerBlocked, BrokerUnreachable
from taskq.wire.message import Message
from tests.conformance.stand import to
from tests.support.amqppeer import Peer, Sent
from tests.support.waiting import until
from tests.unit.broker.amqp.test_patience import Connections

Ack, Get = commands.Basic.Ack, commands.Basic.Get


@dataclass
class Broker:
    """Publishes by hand: `confirms` has one future for each."""

    label: str = "amqp://here/"
    patience: Patience = field(default_factory=lambda: Patience(Connections(), 5))
    confirms: list[asyncio.Future[None]] = field(default_factory=list)
    timeouts_s: set[float] = field(default_factory=set)

    def publish(self, outgoing: Outgoing, *, timeout_s: float) -> asyncio.Future[None]:
        self.timeouts_s.add(timeout_s)
        self.confirms.append(asyncio.get_running_loop().create_future())
        return self.confirms[-1]


def got(tag: int, body: bytes) -> list[Sent]:
    properties = commands.Basic.Properties(message_id=f"m{tag}")
    return [commands.Basic.GetOk(tag, False, "", "q", 0), ContentHeader(0, len(body), properties), ContentBody(body)]


def copy(message: Message) -> list[Outgoing] | None:
    """`keep` is left, `drop` dropped, the rest replaced by a copy."""
    return {b"keep": None, b"drop": []}.get(message.body, [to("work", message.body)])


class Pass:
    """A rework of messages under way, with the peer that has handed them out."""

    def __init__(self, *bodies: bytes) -> None:
        self.broker, self.peer = Broker(), Peer()
        self.peer.silent.add(Get)
        self._bodies = bodies
        self.rework = Rework(self.broker, "q", copy)
        self.channel: HotChannel | None = None

    async def begun(self, confirms: int) -> asyncio.Task[None]:
        self.channel = await self.peer.hot_channel(on_gone=self.rework.give_up)
        task = asyncio.create_task(self.rework.run(self.channel, len(self._bodies)))
        await self.peer.until_got(Get, len(self._bodies))
        for tag, body in enumerate(self._bodies, 1):
            self.peer.say(*got(tag, body))
        await until(lambda: len(self.broker.confirms) == confirms)
        return task

    async def acked(self) -> list[Any]:
        for _ in range(3):
            await asyncio.sleep(0)
        return [(ack.delivery_tag, ack.multiple) for ack in self.peer.of(Ack)]


async def test_each_is_acknowledged_when_its_copy_is_confirmed_and_not_before() -> None:
    work = Pass(b"1", b"keep", b"drop", b"2")
    task = await work.begun(2)
    assert await work.acked() == [(3, False)]
    work.broker.confirms[1].set_result(None)
    assert await work.acked() == [(3, False), (4, False)]
    work.broker.confirms[0].set_result(None)
    await task
    assert (work.rework.settled, work.rework.left) == (3, 1)
    assert work.broker.timeouts_s == {5}, "no publish goes on for ever"


async def test_a_copy_that_is_refused_leaves_its_message_and_the_others_are_settled_first() -> None:
    work = Pass(b"1", b"2")
    task = await work.begun(2)
    work.broker.confirms[0].set_exception(BrokerBlocked("low on disk"))
    await work.acked()
    assert not task.done(), "the other copy may have been stored: it is waited for"
    work.broker.confirms[1].set_result(None)
    with pytest.raises(BrokerBlocked, match="low on disk"):
        await task
    assert await work.acked() == [(2, False)]
    assert (work.rework.settled, work.rework.left) == (1, 1)


async def test_a_lost_channel_ends_it_and_what_was_not_confirmed_is_sent_no_more() -> None:
    work = Pass(b"1", b"2")
    task = await work.begun(2)
    work.broker.confirms[0].set_result(None)
    await work.acked()
    work.peer.break_off("cut")
    with pytest.raises(BrokerUnreachable, match=r"was lost \(cut\)"):
        await task
    assert work.broker.confirms[1].cancelled()
    assert work.rework.settled == 1


async def test_a_page_that_does_not_come_has_a_deadline() -> None:
    work = Pass()
    work.broker.patience = Patience(Connections(), 0.05)
    channel = await work.peer.hot_channel()
    with pytest.raises(BrokerUnreachable, match="has not answered"):
        await work.rework.run(channel, 1)
