"""The delay ladder, walked by a broker of a few lines that is built from the ladder's own topology."""

import math
import re
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskq.broker.amqp.ladder import LADDER, LEVELS, LONGEST_S, OUT, UNIT_MS, UNROUTABLE, entry, level_name, way_out
from taskq.broker.amqp.topology import Topology
from taskq.errors import UsageError
from taskq.tasks.queues import Queue

LONGEST_NAME = "ü" * 90


class Walk:
    """A message on its way. Time is in milliseconds; a level counts in whole ones, as RabbitMQ does.

    ``phases``: what the clock of each level's node is ahead, in fractions of a millisecond.
    """

    def __init__(self, topology: Topology, phases: Sequence[float] = ()) -> None:
        self._phases = dict(zip(map(level_name, range(LEVELS)), phases, strict=False))
        self._exchanges = {spec.name: spec for spec in topology.exchanges}
        self._queues = {spec.name: spec for spec in topology.queues}
        self._bindings = topology.bindings

    def publish(self, exchange: str, key: str, at_ms: float = 0) -> Iterator[tuple[str, float]]:
        """Yield each queue where the message ends, with the time at which it comes there."""
        if not exchange:
            yield from self._enqueue(key, key, at_ms)
            return
        spec = self._exchanges[exchange]
        found = {
            (binding.destination, binding.to_exchange)
            for binding in self._bindings
            if binding.source == exchange and (spec.kind == "fanout" or matches(binding.key, key))
        }
        if not found and "alternate-exchange" in spec.arguments:
            found = {(str(spec.arguments["alternate-exchange"]), True)}
        for destination, to_exchange in found:
            yield from (self.publish if to_exchange else self._enqueue)(destination, key, at_ms)

    def _enqueue(self, queue: str, key: str, at_ms: float) -> Iterator[tuple[str, float]]:
        arguments = self._queues[queue].arguments if queue in self._queues else {}
        if "x-message-ttl" not in arguments:
            yield queue, at_ms
            return
        phase = self._phases.get(queue, 0)
        over_ms = math.floor(at_ms + phase) + int(arguments["x-message-ttl"]) - phase
        yield from self.publish(str(arguments["x-dead-letter-exchange"]), key, over_ms)


def matches(pattern: str, key: str) -> bool:
    """Topic matching as AMQP has it."""

    def fits(wanted: list[str], words: list[str]) -> bool:
        if not wanted:
            return not words
        if wanted[0] == "#":
            return fits(wanted[1:], words) or (bool(words) and fits(wanted, words[1:]))
        return bool(words) and wanted[0] in ("*", words[0]) and fits(wanted[1:], words[1:])

    return fits(pattern.split("."), key.split("."))


def ladder(*queues: str, phases: Sequence[float] = ()) -> Walk:
    return Walk(LADDER + Topology(bindings=tuple(way_out(queue) for queue in queues)), phases)


names = st.text("ab.", min_size=1, max_size=8) | st.sampled_from(["straße", "with space", "a..b", ".", LONGEST_NAME])
delays = st.floats(1e-6, LONGEST_S) | st.floats(1e-6, 100) | st.integers(1, 2**LEVELS - 2).map(lambda n: n * 0.05)


@given(remaining_s=delays, queue=names)
@example(remaining_s=LONGEST_S, queue=LONGEST_NAME)
@example(remaining_s=0.05, queue="a")
def test_every_delay_comes_to_its_queue_and_waits_less_than_two_units_too_long(remaining_s: float, queue: str) -> None:
    [(arrived, at_ms)] = ladder(queue).publish(*entry(remaining_s, queue))
    assert arrived == queue
    assert remaining_s * 1000 <= at_ms < remaining_s * 1000 + 2 * UNIT_MS


FALLING = [level / LEVELS for level in range(LEVELS)]  # each level's milliseconds begin a bit later: the worst there is


@given(remaining_s=delays, start_ms=st.floats(0, 1), phases=st.lists(st.floats(0, 0.999), max_size=LEVELS))
@example(remaining_s=0.05 * (2**27 - 1), start_ms=0.99, phases=FALLING)
@example(remaining_s=0.05 * 15, start_ms=0.99, phases=FALLING)
def test_no_delay_is_early_whatever_each_level_cuts_off(
    remaining_s: float, start_ms: float, phases: list[float]
) -> None:
    [(_, at_ms)] = ladder("a", phases=phases).publish(*entry(remaining_s, "a"), start_ms)
    assert at_ms - start_ms >= remaining_s * 1000 - 1e-4  # the arithmetic of these floats


@given(tail=names, head=names)
def test_a_name_that_is_the_end_of_another_gets_nothing_of_it(tail: str, head: str) -> None:
    queues = {tail, f"{head}.{tail}", f"{head}{tail}", f"{tail}.{head}"}
    walk = ladder(*queues)
    for queue in queues:
        assert [arrived for arrived, _ in walk.publish(*entry(1.23, queue))] == [queue]


@given(name=st.from_regex(re.compile(r"[01.]{1,12}"), fullmatch=True))
def test_a_name_that_looks_like_bits_is_no_bits(name: str) -> None:
    assert [arrived for arrived, _ in ladder(name, f"1.{name}").publish(*entry(0.15, name))] == [name]


def test_a_queue_that_is_gone_leaves_its_messages_where_inspection_shows_them() -> None:
    [(arrived, at_ms)] = ladder("other").publish(*entry(1, "gone"))
    assert (arrived, at_ms >= 1000) == (UNROUTABLE, True)


@pytest.mark.parametrize("remaining_s", [0, -1, -1e9, float("nan")])
def test_what_is_due_goes_to_its_queue_at_once(remaining_s: float) -> None:
    assert entry(remaining_s, "a.b") == ("", "a.b")


@pytest.mark.parametrize(
    ("remaining_s", "level"), [(1e-9, 0), (0.04, 0), (0.05, 1), (0.09, 1), (1, 4), (3600, 16), (LONGEST_S, 27)]
)
def test_a_message_enters_at_its_highest_bit(remaining_s: float, level: int) -> None:
    exchange, key = entry(remaining_s, "a")
    assert exchange == level_name(level)
    bits = key.split(".")[:LEVELS]
    assert bits.index("1") == LEVELS - 1 - level
    assert len(key.encode()) <= 255


def test_a_longer_delay_is_refused_in_days() -> None:
    with pytest.raises(UsageError, match="a delay of 200 days: RabbitMQ holds a job for at most 155 days"):
        entry(200 * 86400, "a")


def test_longest_names_fit_into_a_routing_key() -> None:
    queue = Queue(LONGEST_NAME).name
    assert len(entry(LONGEST_S, queue)[1].encode()) <= 255
    assert len(way_out(queue).key.encode()) <= 255


def test_names_say_unit_and_levels() -> None:
    assert (level_name(27), OUT) == ("taskq.delay.50x28.27", "taskq.delay.50x28.out")


def test_each_level_waits_twice_as_long_as_the_one_below() -> None:
    waits = {spec.name: spec.arguments.get("x-message-ttl") for spec in LADDER.queues}
    assert waits == {UNROUTABLE: None} | {level_name(level): UNIT_MS * 2**level for level in range(LEVELS)}
    assert all(spec.arguments["x-queue-type"] == "quorum" for spec in LADDER.queues)


def test_every_end_of_a_binding_is_declared() -> None:
    exchanges = {spec.name for spec in LADDER.exchanges}
    queues = {spec.name for spec in LADDER.queues}
    for binding in LADDER.bindings:
        assert binding.source in exchanges
        assert binding.destination in (exchanges if binding.to_exchange else queues)
    targets = {spec.arguments.get("x-dead-letter-exchange") for spec in LADDER.queues} - {None}
    assert targets <= exchanges
