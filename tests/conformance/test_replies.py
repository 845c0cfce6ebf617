"""Replies: an inbox of this process, which goes with it."""

import asyncio

from taskq.wire.message import Message
from tests.conformance.stand import TIMEOUT_S, Stand, consuming, publish, to, turnover


async def test_a_reply_arrives_in_the_inbox_it_is_addressed_to(stand: Stand) -> None:
    caller, worker = await stand.open(None, "work"), await stand.open()
    first: asyncio.Queue[Message] = asyncio.Queue()
    second: asyncio.Queue[Message] = asyncio.Queue()
    one, other = await caller.open_inbox(first.put_nowait), await caller.open_inbox(second.put_nowait)
    assert one.address != other.address
    await publish(worker, to(one.address, b"1", mandatory=False), to(other.address, b"2", mandatory=False))
    async with asyncio.timeout(10):
        assert [(await first.get()).body, (await second.get()).body] == [b"1", b"2"]


async def test_each_reply_arrives_once_and_in_order(stand: Stand) -> None:
    caller, worker = await stand.open(), await stand.open()
    replies: list[bytes] = []
    inbox = await caller.open_inbox(lambda message: replies.append(message.body))
    await publish(worker, *[to(inbox.address, b"%d" % n, mandatory=False) for n in range(2_500)])
    async with asyncio.timeout(10):
        while len(replies) < 2_500:
            await turnover(caller)
    await turnover(caller)
    assert replies == [b"%d" % n for n in range(2_500)]


async def test_a_settle_can_carry_the_reply(stand: Stand) -> None:
    caller, worker = await stand.open(None, "work"), await stand.open()
    replies: asyncio.Queue[Message] = asyncio.Queue()
    inbox = await caller.open_inbox(replies.put_nowait)
    await publish(caller, to("work"))
    catch, _ = await consuming(worker, "work")
    await (await catch.next()).settle([to(inbox.address, b"result", mandatory=False)])
    async with asyncio.timeout(10):
        assert (await replies.get()).body == b"result"


async def test_the_inbox_goes_with_its_broker_and_later_replies_are_dropped(stand: Stand) -> None:
    other = await stand.open(None, "work")
    async with stand.new() as broker:
        inbox = await broker.open_inbox(lambda message: None)
    await other.publish(to(inbox.address, mandatory=False), timeout_s=TIMEOUT_S)
    assert [queue.name for queue in await other.inspector.queues()] == ["work", "work.dead"]
