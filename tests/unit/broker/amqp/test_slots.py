"""Which slots are spare: deliveries that the AMQP consumer of the moment did not hand out count until they end."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.broker.amqp.slots import Slots

Step = Callable[[Slots[str]], None]


def enter(place: str) -> Step:
    return lambda slots: slots.enter(place)


def take(place: str, *tags: int) -> Step:
    def step(slots: Slots[str]) -> None:
        for tag in tags:
            slots.take(place, tag)

    return step


def give(place: str, *tags: int) -> Step:
    def step(slots: Slots[str]) -> None:
        for tag in tags:
            slots.give(place, tag)

    return step


leave, set_apart, keep, free = Slots[str].leave, Slots[str].set_apart, Slots[str].keep, Slots[str].free


@pytest.mark.parametrize(
    ("steps", "spare", "places"),
    [
        ([], 4, []),
        ([enter("a"), take("a", 1, 2)], 4, []),
        ([enter("a"), take("a", 1, 2), set_apart], 2, ["a"]),
        ([enter("a"), take("a", 1, 2), set_apart, take("a", 3), give("a", 3)], 2, ["a"]),
        ([enter("a"), take("a", 1, 2), set_apart, give("a", 1)], 3, ["a"]),
        ([enter("a"), take("a", 1, 2), set_apart, give("a", 1, 2)], 4, []),
        ([enter("a"), take("a", 1, 2), leave], 2, ["a"]),
        ([enter("a"), take("a", 1, 2), enter("b"), take("b", 1)], 2, ["a"]),
        ([enter("a"), take("a", 1), enter("b"), take("b", 1), enter("c")], 2, ["a", "b"]),
        ([enter("a"), take("a", 1), enter("b"), take("b", 1), give("b", 1)], 3, ["a"]),
        ([enter("a"), take("a", 1), enter("b"), give("a", 1, 1), give("a", 7)], 4, []),
        ([enter("a"), enter("b"), take("a", 9)], 3, ["a"]),
        ([enter("a"), take("a", 1), keep, give("a", 1)], 3, []),
        ([enter("a"), take("a", 1), leave, keep, give("a", 1)], 3, []),
        ([enter("a"), take("a", 1), leave, keep, give("a", 1), free], 4, []),
        ([keep, keep, keep, keep, keep], 0, []),
        ([enter("a"), take("a", 1, 2, 3, 4), enter("b"), take("b", 1, 2), leave], 0, ["a", "b"]),
    ],
)
def test_spare_slots(steps: list[Step], spare: int, places: list[str]) -> None:
    slots: Slots[str] = Slots(4)
    for step in steps:
        step(slots)
    assert slots.spare == spare
    assert list(slots.places) == places
    assert [place for place in "abc" if slots.runs_on(place)] == places


@given(st.data(), st.integers(1, 6))
def test_no_more_runs_than_there_are_slots_and_all_of_them_come_back(data: st.DataObject, total: int) -> None:
    """A broker that hands out as many as the prefetch allows, over channels that come and go."""
    slots: Slots[int] = Slots(total)
    running: list[tuple[int, int]] = []
    own: set[tuple[int, int]] = set()
    kept = place = tag = 0
    slots.enter(place)
    prefetch = slots.spare
    for _ in range(data.draw(st.integers(0, 40))):
        match data.draw(st.sampled_from(["hand out", "settle", "keep", "free", "refit", "lose"])):
            case "hand out" if len(own) < prefetch:
                tag += 1
                slots.take(place, tag)
                running.append((place, tag))
                own.add((place, tag))
            case "settle" | "keep" as how if running:
                ended = running.pop(data.draw(st.integers(0, len(running) - 1)))
                if how == "keep":
                    slots.keep()
                    kept, prefetch = kept + 1, 0  # it is cancelled, and made again by a refit
                slots.give(*ended)
                own.discard(ended)
            case "free" if kept:
                slots.free()
                kept -= 1
            case "refit":
                slots.set_apart()
                own.clear()
                prefetch = slots.spare
            case "lose":
                place, tag = place + 1, 0
                own.clear()
                slots.enter(place)
                prefetch = slots.spare
            case _:
                pass
        assert len(running) + kept <= total
    for where, which in running:
        slots.give(where, which)
    slots.leave()
    assert slots.spare == total - kept
    assert list(slots.places) == []
