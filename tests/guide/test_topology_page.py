"""The tables of arguments are those of the program."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace

import pytest

from taskq.broker.amqp.ladder import LADDER, LEVELS, LONGEST_S, OUT, PREFIX, UNIT_MS, UNROUTABLE, level_name, way_out
from taskq.broker.amqp.topology import Argument, BindingSpec, QueueSpec, queue_specs, reply_queue, temporary_queue
from taskq.tasks.exchanges import TemporaryQueue
from taskq.tasks.queues import Queue
from tests.guide.page import ROOT

PAGE = (ROOT / "docs/reference/topology.md").read_text("utf-8")
LEVEL = 4  # the one that the page shows
TEMPORARY = TemporaryQueue(
    name="taskq.subscription.<uuid>", label="events", bindings=(), limit=1000, overflow="drop-head"
)
_ARGUMENT = re.compile(r"^\| `(?P<queue>[^`]+)` \| `(?P<argument>[^`]+)` \| `(?P<value>[^`]+)` \|", re.M)
_EXCHANGE = re.compile(r"^\| `(?P<name>[^`]+)` \| (?P<kind>topic|fanout) \| (?P<arguments>.*) \|$", re.M)


def value(text: str) -> Argument:
    if text.isdigit():
        return int(text)
    return True if text == "true" else text.replace('""', "")


def shown(page: str = PAGE) -> dict[str, dict[str, Argument]]:
    queues: dict[str, dict[str, Argument]] = defaultdict(dict)
    for found in _ARGUMENT.finditer(page):
        queues[found["queue"]][found["argument"]] = value(found["value"])
    return dict(queues)


def declared() -> dict[str, QueueSpec]:
    specs = [
        *queue_specs(Queue("images")),
        queue_specs(Queue("letters", type="classic", max_priority=5))[1],
        reply_queue("taskq.reply.<uuid>"),
        temporary_queue(TEMPORARY),
        *(spec for spec in LADDER.queues if spec.name in (UNROUTABLE, level_name(LEVEL))),
    ]
    return {spec.name: spec for spec in specs}


def test_the_table_has_each_queue_with_each_argument_and_value() -> None:
    assert shown() == {name: dict(spec.arguments) for name, spec in declared().items()}


def test_every_queue_but_temporary_ones_is_durable_and_stays_until_it_is_deleted_or_expires() -> None:
    lasting = declared()
    temporary = lasting.pop(TEMPORARY.name)
    assert (temporary.durable, temporary.exclusive, temporary.auto_delete) == (False, True, False)
    specs = [*lasting.values(), *LADDER.queues]
    assert all(spec.durable and not spec.exclusive and not spec.auto_delete for spec in specs)


def test_the_other_levels_differ_in_time_and_target_only() -> None:
    there = {spec.name: spec for spec in LADDER.queues if spec.name != UNROUTABLE}
    model = there[level_name(LEVEL)]
    for level in range(LEVELS):
        target = level_name(level - 1) if level else OUT
        own = {**model.arguments, "x-message-ttl": UNIT_MS * 2**level, "x-dead-letter-exchange": target}
        assert there.pop(level_name(level)) == replace(model, name=level_name(level), arguments=own)
    assert there == {}


def test_the_table_has_each_exchange() -> None:
    rows = {found["name"]: (found["kind"], found["arguments"]) for found in _EXCHANGE.finditer(PAGE)}
    real = {
        spec.name: (spec.kind, ", ".join(f"`{name}` = `{each}`" for name, each in spec.arguments.items()) or "–")
        for spec in LADDER.exchanges
    }
    levels = {real.pop(level_name(level)) for level in range(LEVELS)}
    assert levels == {rows.pop(f"{PREFIX}<level>")}
    assert rows == real


def test_the_bindings_are_those_that_the_page_describes() -> None:
    described = {BindingSpec(UNROUTABLE, UNROUTABLE)}
    for level in range(LEVELS):
        name, higher = level_name(level), "*." * (LEVELS - 1 - level)
        lower = level_name(level - 1) if level else OUT
        described |= {
            BindingSpec(name, name, f"{higher}1.#"),
            BindingSpec(name, lower, f"{higher}0.#", to_exchange=True),
        }
    assert set(LADDER.bindings) == described
    assert way_out("images") == BindingSpec(OUT, "images", "*." * 28 + "images")


def test_the_page_says_how_long_the_ladder_is() -> None:
    assert f"{LEVELS} queues and {LEVELS} exchanges" in PAGE
    assert f"{int(LONGEST_S):,} s, or {LONGEST_S / 86400:.0f} days" in " ".join(PAGE.split())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("`x-delivery-limit` | `20`", "`x-delivery-limit` | `21`"),
        ("| `images` | `x-overflow` | `reject-publish` |", "| no row |"),
        ("`x-single-active-consumer` | `true`", "`x-single-active-consumer` | `1`"),
    ],
)
def test_a_row_that_is_not_so_is_found(right: str, wrong: str) -> None:
    assert right in PAGE
    differs = shown(PAGE.replace(right, wrong))
    assert repr(differs) != repr(shown())
