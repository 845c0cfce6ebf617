"""Publishing when a message, its caller or we ourselves are at fault: one publish pays for it, and the others go on."""

import asyncio
from typing import Any

import pytest
from pamqp import commands

from taskq.broker.protocol import Outgoing
from taskq.errors import MessageTooLarge, UsageError
from tests.conformance.stand import to
from tests.support.waiting import until
from tests.unit.broker.amqp.test_publisher import Confirm, publishing, raised, turn

TOO_LARGE = "PRECONDITION_FAILED - message size 5 is larger than configured max size 4"


async def test_who_gave_up_is_a_suspect_too_and_an_innocent_one_gets_no_error() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        culprit, innocent = kit.send(b"large", b"small")
        await peer.until_published(2)
        culprit.cancel()
        peer.say(commands.Channel.Close(406, TOO_LARGE, 0, 0))
        await peer.until_published(3)
        assert [body for _, body in peer.published[2:]] == [b"small"]
        peer.say(Confirm(1), channel=2)
        await innocent
        sends = kit.send(b"1", b"2", b"3")
        await peer.until_published(6)
        peer.say(Confirm(4, multiple=True), channel=2)
        await asyncio.gather(*sends)


async def test_when_the_only_one_gave_up_the_next_ones_go_together_as_before() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        (culprit,) = kit.send(b"large")
        await peer.until_published(1)
        culprit.cancel()
        peer.say(commands.Channel.Close(406, TOO_LARGE, 0, 0))
        await peer.until_got(commands.Confirm.Select, 2)
        sends = kit.send(b"1", b"2")
        await peer.until_published(3)
        peer.say(Confirm(2, multiple=True), channel=2)
        await asyncio.gather(*sends)


async def test_suspects_that_are_given_up_while_they_wait_hold_up_nobody() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        suspects = kit.send(b"1", b"2", b"3")
        await peer.until_published(3)
        peer.say(commands.Channel.Close(406, TOO_LARGE, 0, 0))
        await peer.until_published(4)
        for suspect in suspects[1:]:
            suspect.cancel()
        sends = kit.send(b"4", b"5")
        peer.say(Confirm(1), channel=2)
        await peer.until_published(6)
        assert [body for _, body in peer.published[4:]] == [b"4", b"5"]
        peer.say(Confirm(3, multiple=True), channel=2)
        await asyncio.gather(suspects[0], *sends)


async def test_those_that_were_given_up_in_an_alarm_do_not_stay() -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        peer.say(commands.Connection.Blocked("low on disk"), channel=0)
        for_ever = kit.publisher.publish(to("work", b"for ever"), None)
        for _ in range(1_000):
            kit.send(b"given up")[0].cancel()
            kit.publisher.publish(to("work", not_before=4e9), 10).cancel()
        assert len(list(kit.publisher._all())) < 200
        peer.say(commands.Connection.Unblocked(), channel=0)
        kit.publisher.pump()
        await peer.until_published(1)
        peer.say(Confirm(1))
        await for_ever
        assert [body for _, body in peer.published] == [b"for ever"]


async def test_those_whose_deadline_has_passed_leave_at_once_also_behind_one_that_waits_for_ever() -> None:
    async with publishing() as kit:
        for_ever = kit.publisher.publish(to("work"), None)
        sends = kit.send(*[b"%d" % number for number in range(50)], timeout_s=0.05)
        sends.append(kit.publisher.publish(to("work", not_before=4e9), 0.05))
        await until(lambda: all(send.done() for send in sends))
        assert len(list(kit.publisher._all())) == 1
        for_ever.cancel()


LARGE_HEADER = {f"h{number}": "x" * 100 for number in range(110)}


def with_headers(headers: dict[Any, Any], body: bytes = b"h") -> Outgoing:
    outgoing = to("work", body)
    return outgoing._replace(message=outgoing.message._replace(headers=headers))


async def test_a_header_above_the_frame_of_the_connection_fails_alone_whenever_it_is_sent() -> None:
    async with publishing() as kit:
        waited = kit.publisher.publish(with_headers(LARGE_HEADER), None)
        (neighbour,) = kit.send(b"1")
        peer = await kit.connected(frame_max=8192)
        at_once = kit.publisher.publish(with_headers(LARGE_HEADER), 10)
        for send in (waited, at_once):
            error = await raised(send)
            assert isinstance(error, MessageTooLarge)
            assert error.limit == 8184
            assert "header" in str(error)
            assert "'work'" in str(error)
        await peer.until_published(1)
        peer.say(Confirm(1))
        await neighbour
        later = kit.send(b"2")
        await peer.until_published(2)
        peer.say(Confirm(2))
        await asyncio.gather(*later)
        assert kit.publisher._bytes == len(kit.publisher._open) == len(kit.publisher._by_id) == 0


class Endless(dict[str, Any]):
    """A table that holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self["self"] = self


@pytest.mark.parametrize(
    "headers",
    [{"n" * 256: 1}, {"big": 2**64}, {"thing": object()}, {"half": "\ud800"}, {5: 1}, Endless()],
    ids=["name", "number", "type", "surrogate", "no text", "endless"],
)
async def test_what_amqp_cannot_carry_is_the_futures_error_and_disturbs_nobody(headers: dict[Any, Any]) -> None:
    async with publishing() as kit:
        peer = await kit.connected()
        send = kit.publisher.publish(with_headers(headers), None)
        with pytest.raises(UsageError, match="AMQP cannot carry"):
            await send
        (neighbour,) = kit.send(b"1")
        await peer.until_published(1)
        peer.say(Confirm(1))
        await neighbour


async def test_a_name_of_a_queue_that_is_too_long_fails_when_it_is_sent_and_alone() -> None:
    async with publishing() as kit:
        sends = kit.send(b"1", queue="q" * 256) + kit.send(b"2")
        peer = await kit.connected()
        with pytest.raises(UsageError, match="256 bytes"):
            await sends[0]
        await peer.until_published(1)
        peer.say(Confirm(1))
        await sends[1]


async def test_a_fault_of_ours_while_sending_is_told_and_publishing_goes_on_over_another_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taskq.broker.amqp.publisher._FAULT_PAUSE_S", 0.01)
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    async with publishing() as kit:
        sends = kit.send(b"1", b"2")
        pump, kit.publisher.pump = kit.publisher.pump, lambda: 1 / 0  # type: ignore[method-assign]
        first = await kit.connected()
        await until(lambda: not first.alive)
        assert "ZeroDivisionError" in first.plane.lost.result()
        kit.publisher.pump = pump  # type: ignore[method-assign]
        second = await kit.connected()
        sends += kit.send(b"3")
        await second.until_published(3)
        assert [body for _, body in second.published] == [b"1", b"2", b"3"]
        second.say(Confirm(3, multiple=True))
        await asyncio.gather(*sends)
        assert told == ["taskq failed to publish, and does so over another connection"]


async def test_a_fault_of_ours_with_one_publish_is_the_error_of_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with publishing() as kit:
        kit.routes.known.add("work")
        delayed, (neighbour,) = kit.publisher.publish(to("work", not_before=4e9), None), kit.send(b"1")
        monkeypatch.setattr("taskq.broker.amqp.publisher.route", lambda *_: 1 / 0)
        peer = await kit.connected()
        kit.routes.go_on.set()
        assert "ZeroDivisionError" in str(await raised(delayed))
        await peer.until_published(1)
        peer.say(Confirm(1))
        await neighbour


async def test_the_publishes_of_a_settle_that_is_given_up_are_not_sent_later_and_leave_nothing() -> None:
    async with publishing() as kit:
        waiting = [kit.publisher.publish(to("work", b"waits"), None)]
        first = await kit.connected()
        await first.until_published(1)
        first.say(commands.Connection.Blocked("low on disk"), channel=0)
        waiting += [
            kit.publisher.publish(to("work", b"held"), None),
            kit.publisher.publish(to("work", b"delayed", not_before=4e9), None),
        ]
        for confirm in waiting:
            confirm.cancel()
        kit.line.lose()
        second = await kit.connected()
        kit.routes.go_on.set()
        (other,) = kit.send(b"other")
        await second.until_published(1)
        second.say(Confirm(1))
        await other
        await turn()
        assert [body for _, body in second.published] == [b"other"]
        assert list(kit.publisher._all()) == []
        assert kit.publisher._bytes == len(kit.publisher._by_id) == 0
