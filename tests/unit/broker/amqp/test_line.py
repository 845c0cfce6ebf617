"""Declaring and asking on one channel after the other: what is sent, what was refused, and what is left behind."""

import asyncio
from typing import Any

import pytest
from pamqp import commands

from taskq.broker.amqp.declaring import Declarer
from taskq.broker.amqp.frames import declaration, look
from taskq.broker.amqp.line import Line
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.topology import QueueSpec
from taskq.errors import BrokerError, BrokerUnreachable, QueueMismatch
from tests.support.amqppeer import Peer
from tests.support.waiting import until

Declare = commands.Queue.Declare


def without(*missing: str) -> Peer:
    """A broker that has every queue but these."""
    peer = Peer()

    def refuse(asked: Any) -> tuple[int, str] | None:
        if isinstance(asked, Declare) and asked.queue in missing:
            return 404, f"NOT_FOUND - no queue '{asked.queue}' in vhost '/'"
        return None

    peer.refuse = refuse
    return peer


async def freed(peer: Peer) -> None:
    await until(lambda: len(peer.numbers) == 0)
    assert peer.alive


async def test_queues_that_all_exist_are_looked_at_on_one_channel_at_once() -> None:
    peer = without()
    found, locked = await Declarer(peer.hot_channel).counts_of([f"q{number}" for number in range(30)])
    assert (len(found), locked) == (30, [])
    assert len(peer.of(commands.Channel.Open)) == 1
    await freed(peer)


async def test_a_missing_queue_costs_one_channel_and_the_others_are_found() -> None:
    names = [f"q{number}" for number in range(40)]
    peer = without("q3", "q4", "q30")
    found, _ = await Declarer(peer.hot_channel).counts_of(names)
    assert sorted(found) == sorted(set(names) - {"q3", "q4", "q30"})
    assert len(peer.of(commands.Channel.Open)) == 4
    assert len(peer.of(Declare)) < 3 * len(names), "what is sent again is bounded"
    await freed(peer)


async def test_many_that_are_all_missing_are_looked_at_once_each() -> None:
    names = [f"q{number}" for number in range(50)]
    peer = without(*names)
    assert await Declarer(peer.hot_channel).counts_of(names) == ({}, [])
    assert len(peer.of(Declare)) <= 2 * len(names)
    await freed(peer)


async def test_a_queue_that_another_connection_has_to_itself_is_named() -> None:
    peer = Peer()
    peer.refuse = lambda asked: (
        (405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'b' in vhost '/'.")
        if getattr(asked, "queue", "") == "b"
        else None
    )
    declarer = Declarer(peer.hot_channel)
    found, locked = await declarer.counts_of(["a", "b", "c"])
    assert (sorted(found), locked) == (["a", "c"], ["b"])
    with pytest.raises(QueueMismatch, match="exclusive"):
        await declarer.counts("b")


async def test_a_refusal_that_is_no_absence_is_an_error() -> None:
    peer = Peer()
    peer.refuse = lambda asked: (541, "INTERNAL_ERROR - it crashed") if isinstance(asked, Declare) else None
    with pytest.raises(BrokerError, match="refuses it: INTERNAL_ERROR"):
        await Declarer(peer.hot_channel).counts("a")


async def test_of_many_declarations_some_are_answered_so_that_progress_is_seen() -> None:
    peer, told = Peer(), list[int]()
    async with Line(peer.hot_channel) as line:
        assert await line.taken([declaration(QueueSpec(f"q{number}")) for number in range(50)], told.append)
    assert told == [20, 20, 10]
    assert [number for number, sent in enumerate(peer.of(Declare)) if not sent.nowait] == [19, 39, 49]
    await freed(peer)


async def test_a_declaration_that_is_refused_ends_its_batch_and_the_line_goes_on() -> None:
    peer = without("q7")
    async with Line(peer.hot_channel) as line:
        assert not await line.taken([declaration(QueueSpec(f"q{number}")) for number in range(20)])
        assert isinstance(await line.call(look("q1")), commands.Queue.DeclareOk)
        with pytest.raises(ChannelGone, match="404"):
            await line.call(look("q7"))
        assert await line.taken([])
    await freed(peer)


async def test_a_connection_that_is_lost_meanwhile_is_no_refusal() -> None:
    peer = Peer()
    peer.silent.add(Declare)
    declaring = asyncio.create_task(Declarer(peer.hot_channel, label="amqp://x").counts("q"))
    await peer.until_got(Declare)
    peer.break_off("CONNECTION_FORCED - closed")
    with pytest.raises(BrokerUnreachable, match=r"amqp://x was lost \(CONNECTION_FORCED"):
        await declaring


async def test_a_caller_that_is_cancelled_anywhere_is_cancelled_at_once_and_leaves_no_channel() -> None:
    peer = without("b")
    declarer = Declarer(peer.hot_channel)
    ended = 0
    for turns in range(40):
        task = asyncio.create_task(declarer.counts_of(["a", "b", "c"]))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert task.done(), turns
        ended += not task.cancelled()
        await freed(peer)
    assert 0 < ended < 40, "some were over before, others not"
