"""Acks, confirms and channel numbers: what is open, as the broker sees it too."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.broker.amqp.plane.acks import AckLedger
from taskq.broker.amqp.plane.confirms import ConfirmLedger
from taskq.broker.amqp.plane.faults import ChannelGone
from taskq.broker.amqp.plane.numbers import ChannelNumbers


class Unacked:
    """A channel as the broker keeps it: an ack of a tag that is not open closes it."""

    def __init__(self, tags: int) -> None:
        self.open = set(range(1, tags + 1))

    def ack(self, tag: int, *, multiple: bool) -> set[int]:
        assert tag in self.open, "406: unknown delivery tag"
        acked = {each for each in self.open if each <= tag} if multiple else {tag}
        self.open -= acked
        return acked


@given(st.randoms(use_true_random=False), st.integers(1, 60), st.integers(1, 10))
def test_every_finished_tag_is_acked_at_its_flush_and_no_running_one(
    chance: random.Random, tags: int, turn: int
) -> None:
    ledger, broker = AckLedger(), Unacked(tags)
    order = chance.sample(range(1, tags + 1), tags)
    for at in range(0, tags, turn):
        finished = order[at : at + turn]
        for tag in finished:
            ledger.finish(tag)
        acked = set[int]()
        for tag, multiple in ledger.take():
            acked |= broker.ack(tag, multiple=multiple)
        assert acked == set(finished)
    assert broker.open == set()
    assert ledger.take() == []


@given(st.data(), st.integers(1, 12))
def test_no_order_of_deliveries_and_ends_makes_the_broker_refuse_an_ack(data: st.DataObject, prefetch: int) -> None:
    ledger, broker = AckLedger(), Unacked(0)
    finished: set[int] = set()
    last = 0
    for _ in range(data.draw(st.integers(0, 60))):
        running = sorted(broker.open - finished)
        match data.draw(st.sampled_from(["deliver", "finish", "flush"])):
            case "deliver" if len(broker.open) < prefetch:
                last += 1
                broker.open.add(last)
            case "finish" if running:
                tag = data.draw(st.sampled_from(running))
                ledger.finish(tag)
                finished.add(tag)
            case "flush":
                acks = ledger.take()
                acked = [broker.ack(tag, multiple=multiple) for tag, multiple in acks]
                assert set().union(*acked) == finished, "all that is finished, and nothing that runs"
                lowest = min(running, default=last + 1)
                assert sum(tag < lowest for tag, _ in acks) <= 1, "one ack for all that has nothing running below it"
                finished.clear()
                assert len(ledger) <= len(broker.open)
            case _:
                pass
        assert len(ledger) <= prefetch


def test_what_it_remembers_does_not_grow_behind_a_long_job() -> None:
    ledger = AckLedger()
    for tag in range(2, 10_002):
        ledger.finish(tag)
        assert ledger.take() == [(tag, False)]
        assert len(ledger) == 1
    ledger.finish(1)
    assert ledger.take() == [(1, True)]
    assert len(ledger) == 0


def test_one_long_job_does_not_hold_up_the_acks_of_the_others() -> None:
    ledger = AckLedger()
    for tag in (2, 3, 4):
        ledger.finish(tag)
    assert ledger.take() == [(2, False), (3, False), (4, False)]
    ledger.finish(1)
    assert ledger.take() == [(1, True)]
    ledger.finish(5)
    ledger.finish(6)
    assert ledger.take() == [(6, True)]


@given(st.randoms(use_true_random=False), st.integers(0, 60))
def test_each_publish_is_confirmed_once_and_multiples_keep_the_order(chance: random.Random, publishes: int) -> None:
    ledger, still, confirmed = ConfirmLedger[int](), list(range(1, publishes + 1)), list[int]()
    for tag in still:
        ledger.add(tag)
    while still:
        tag, multiple = chance.choice(still), chance.random() < 0.4
        settled = ledger.settle(tag, multiple=multiple)
        assert settled == ([each for each in still if each <= tag] if multiple else [tag])
        confirmed += settled
        still = [each for each in still if each not in settled]
    assert sorted(confirmed) == list(range(1, publishes + 1))
    assert len(ledger) == 0
    assert ledger.settle(publishes + 5, multiple=False) == []


def test_a_confirm_of_tag_zero_is_about_all_of_them() -> None:
    ledger = ConfirmLedger[str]()
    ledger.add("a")
    ledger.add("b")
    assert ledger.settle(0, multiple=True) == ["a", "b"]
    ledger.add("c")
    assert ledger.take_all() == ["c"]


def test_numbers_keep_to_what_was_agreed_and_a_freed_one_is_taken_last() -> None:
    numbers = ChannelNumbers(3)
    assert [numbers.take() for _ in range(3)] == [1, 2, 3]
    with pytest.raises(ChannelGone, match="all 3 channels"):
        numbers.take()
    numbers.free(1)
    numbers.free(2)
    assert numbers.take() == 1
    numbers.free(1)
    assert numbers.take() == 2


def test_no_limit_of_the_broker_means_amqps_own() -> None:
    numbers = ChannelNumbers(0)
    assert len({numbers.take() for _ in range(65_535)}) == 65_535
    with pytest.raises(ChannelGone):
        numbers.take()
