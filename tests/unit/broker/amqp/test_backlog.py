"""The backlog keeps its order, and not much of what nobody waits for."""

import asyncio
from math import inf

from taskq.broker.amqp.backlog import Backlog
from taskq.broker.amqp.outbox import Publish
from tests.conformance.stand import to


def publish(body: bytes = b"", *, exchange: str = "") -> Publish:
    confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    return Publish(to("work", body, mandatory=not exchange)._replace(exchange=exchange), confirmed, inf, inf, 0.0)


def bodies(backlog: Backlog) -> list[bytes]:
    return [each.message.body for each in backlog]


async def test_what_is_put_back_is_before_what_waited() -> None:
    backlog = Backlog()
    backlog.append(publish(b"3"))
    backlog.put_back([publish(b"1"), publish(b"2")])
    backlog.append(publish(b"4"))
    taken: list[bytes] = []
    while backlog.next is not None:
        taken.append(backlog.take().message.body)
    assert taken == [b"1", b"2", b"3", b"4"]
    assert len(backlog) == 0


async def test_what_was_given_up_is_not_handed_out_and_told_once() -> None:
    left: list[Publish] = []
    backlog = Backlog(left.append)
    given_up, wanted = publish(b"given up"), publish(b"wanted")
    backlog.append(given_up)
    backlog.append(wanted)
    given_up.confirmed.cancel()
    assert backlog.next is wanted
    assert backlog.take_all() == [wanted]
    assert left == [given_up]
    assert backlog.next is None


async def test_what_is_for_one_exchange_is_taken_out_in_its_order() -> None:
    backlog = Backlog()
    for body, exchange in ((b"1", "logs"), (b"2", ""), (b"3", "logs"), (b"4", "other")):
        backlog.append(publish(body, exchange=exchange))
    assert [each.message.body for each in backlog.take_all("logs")] == [b"1", b"3"]
    assert bodies(backlog) == [b"2", b"4"]


async def test_behind_one_that_waits_for_ever_those_that_were_given_up_do_not_gather() -> None:
    left: list[Publish] = []
    backlog = Backlog(left.append)
    backlog.append(publish(b"for ever"))
    for _ in range(5_000):
        given_up = publish()
        backlog.append(given_up)
        given_up.confirmed.cancel()
        assert len(backlog) <= 66
    assert len(left) >= 4_900
    assert backlog.next is not None
    assert backlog.next.message.body == b"for ever"


async def test_what_was_given_up_is_bounded_in_bytes_too() -> None:
    backlog = Backlog()
    for _ in range(50):
        given_up = publish(bytes(200_000))
        backlog.append(given_up)
        given_up.confirmed.cancel()
        assert len(backlog) <= 6


async def test_many_that_are_waited_for_cost_few_looks() -> None:
    backlog, looks = Backlog(), 0
    look = backlog.look

    def counted() -> None:
        nonlocal looks
        looks += 1
        look()

    backlog.look = counted  # type: ignore[method-assign]
    for _ in range(20_000):
        backlog.append(publish())
    assert looks < 30
    assert len(backlog) == 20_000
