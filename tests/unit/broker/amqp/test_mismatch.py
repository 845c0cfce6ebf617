"""Reading refused declarations, against a broker of a few lines that words them as RabbitMQ does."""

import pickle
from typing import Any

import pytest

from taskq.broker.amqp.mismatch import (
    GUARD,
    MOST_PROBES,
    Complaint,
    Probe,
    Untold,
    exchange_mismatch,
    read_complaint,
)
from taskq.broker.amqp.topology import Argument, ExchangeSpec, QueueSpec, queue_specs
from taskq.errors import QueueMismatch
from taskq.tasks.queues import Queue

BOTH = (
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-overflow",
)
COMPARED = {
    "quorum": (*BOTH, "x-dead-letter-strategy", "x-single-active-consumer", "x-queue-type", "x-delivery-limit"),
    "classic": (*BOTH, "x-max-priority", "x-queue-mode", "x-single-active-consumer", "x-queue-type"),
    "stream": ("x-max-length-bytes", "x-max-age", "x-queue-type"),
}
KINDS = {str: "longstr", int: "byte", bool: "bool", float: "double"}


def refusal(declared: QueueSpec, present: QueueSpec) -> str | None:
    """The text that RabbitMQ refuses ``declared`` with when ``present`` exists, or None."""
    for field in ("durable", "auto_delete"):
        mine, theirs = getattr(declared, field), getattr(present, field)
        if mine != theirs:
            return _text(field, f"'{_word(mine)}' but current is '{_word(theirs)}'", present.name)
    for key in COMPARED[str(present.arguments.get("x-queue-type", "classic"))]:
        default = "classic" if key == "x-queue-type" else None
        mine, theirs = declared.arguments.get(key, default), present.arguments.get(key, default)
        if (type(mine), mine) == (type(theirs), theirs):
            continue
        if mine is None:
            return _text(key, f"none but current is the value {_typed(theirs)}", present.name)
        if theirs is None:
            return _text(key, f"the value {_typed(mine)} but current is none", present.name)
        return _text(key, f"'{_word(mine)}' but current is '{_word(theirs)}'", present.name)
    return None


def _text(argument: str, tail: str, queue: str) -> str:
    text = f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': received {tail}"
    raw = text.encode()
    return text if len(raw) <= 255 else raw[:252].decode(errors="ignore") + "..."


def _typed(value: Argument | None) -> str:
    return f"'{_word(value)}' of type '{KINDS[type(value)]}'"


def _word(value: Argument | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def probed(declared: QueueSpec, present: QueueSpec) -> dict[str, tuple[Any, Any]]:
    """Every difference that a probe finds."""
    probe = Probe(declared)
    text = refusal(declared, present)
    for _ in range(MOST_PROBES):
        assert text is not None
        if not probe.learn(text):
            break
        assert GUARD.items() <= probe.next.arguments.items()
        text = refusal(probe.next, present)
        if text is None:
            probe.agreed()
            break
    return dict(probe.differences)


def work(name: str = "work", **options: Any) -> QueueSpec:
    return queue_specs(Queue(name, **options))[1]


def test_two_arguments_that_differ_are_both_named() -> None:
    present = QueueSpec("work", arguments={**work(delivery_limit=3).arguments, "x-overflow": "drop-head"})
    assert probed(work(delivery_limit=20), present) == {
        "x-overflow": ("reject-publish", "drop-head"),
        "x-delivery-limit": (20, 3),
    }


def test_another_type_is_named_with_all_that_goes_with_it() -> None:
    assert probed(work(type="classic", max_priority=5), work(delivery_limit=3)) == {
        "x-queue-type": ("classic", "quorum"),
        "x-max-priority": (5, None),
        "x-delivery-limit": (None, 3),
        "x-dead-letter-strategy": (None, "at-least-once"),
        "x-overflow": (None, "reject-publish"),
    }
    assert probed(work(delivery_limit=3), work(type="classic", max_priority=5)) == {
        "x-queue-type": ("quorum", "classic"),
        "x-max-priority": (None, 5),
        "x-delivery-limit": (3, None),
        "x-dead-letter-strategy": ("at-least-once", None),
        "x-overflow": ("reject-publish", None),
    }


def test_a_queue_that_somebody_made_bare_lacks_all_of_it() -> None:
    found = probed(work(), QueueSpec("work", durable=False, auto_delete=True))
    assert found["durable"] == (True, False)
    assert found["auto_delete"] == (False, True)
    assert found["x-dead-letter-routing-key"] == ("work.dead", None)
    assert set(found) == {"durable", "auto_delete", *work().arguments}


def test_arguments_of_the_programs_own_are_compared_like_ours() -> None:
    """As other programs declare: no type, no way for dead letters."""
    bare = Queue("work", type="classic", durable=False, arguments={})
    present = QueueSpec("work", arguments={"x-max-length": 5})
    assert probed(queue_specs(bare)[1], present) == {"durable": (False, True), "x-max-length": (None, 5)}


def test_a_declared_stream_is_not_probed_for_it_would_be_made() -> None:
    probe = Probe(QueueSpec("work", arguments={"x-queue-type": "stream"}))
    assert not probe.learn(refusal(QueueSpec("work", durable=False), QueueSpec("work")) or "")
    assert list(probe.differences) == ["durable"]


@pytest.mark.parametrize(
    ("argument", "tail", "differences"),
    [
        ("type", "'topic' but current is 'fanout'", {"kind": ("topic", "fanout")}),
        ("durable", "'true' but current is 'false'", {"durable": (True, False)}),
        ("internal", "'false' but current is 'true'", {"internal": (False, True)}),
        (
            "alternate-exchange",
            "the value 'a' of type 'longstr' but current is none",
            {"alternate-exchange": ("a", None)},
        ),
        ("type", "'topic' but curr...", {"kind": ("topic", Untold.OTHER)}),
    ],
)
def test_an_exchange_that_differs_is_named_with_both_values(
    argument: str, tail: str, differences: dict[str, tuple[Any, Any]]
) -> None:
    declared = ExchangeSpec("it's", "topic", {"alternate-exchange": "a"})
    text = f"PRECONDITION_FAILED - inequivalent arg '{argument}' for exchange 'it's' in vhost '/': received {tail}"
    error = exchange_mismatch(text, declared)
    assert error is not None
    assert (error.exchange, error.differences) == ("it's", differences)
    assert exchange_mismatch("PRECONDITION_FAILED - invalid arg", declared) is None


def test_a_stream_is_not_probed_further() -> None:
    """A probe of a stream could make one: there the guard is an argument as any other."""
    for further in ({}, {"x-max-age": "7D"}, {"x-max-length-bytes": 1000, "x-max-age": "7D"}):
        found = probed(work(), QueueSpec("work", arguments={"x-queue-type": "stream", **further}))
        assert found["x-queue-type"] == ("quorum", "stream")
        assert "x-max-age" not in found


@pytest.mark.parametrize("value", [60_000, True, False, 2.5, "lazy", "it's of type 'x'", "60000", -1, 0, ""])
def test_values_keep_their_type(value: Argument) -> None:
    present = QueueSpec("work", arguments={"x-message-ttl": value})
    [(mine, theirs)] = probed(QueueSpec("work"), present).values()
    assert (mine, theirs, type(theirs)) == (None, value, type(value))


@pytest.mark.parametrize(
    ("mine", "theirs"), [(5, 3), (True, False), ("a", "b"), (60_000, "60000"), ("60000", 60_000), ("7", "8"), (1, "a")]
)
def test_two_values_without_a_type_in_the_text_keep_theirs(mine: Argument, theirs: Argument) -> None:
    declared = QueueSpec("work", arguments={"x-message-ttl": mine})
    found = probed(declared, QueueSpec("work", arguments={"x-message-ttl": theirs}))
    assert found == {"x-message-ttl": (mine, theirs)}
    assert type(found["x-message-ttl"][1]) is type(theirs)


@pytest.mark.parametrize("name", ["it's", "' in vhost 'x': received none", "straße", "a' for queue 'b"])
def test_a_name_of_a_queue_confuses_nobody(name: str) -> None:
    assert probed(work(name, delivery_limit=7), work(name)) == {"x-delivery-limit": (7, 20)}


def test_a_value_that_was_cut_off_is_said_to_be_another_one() -> None:
    name = "ü" * 90
    found = probed(work(name, type="classic", max_priority=5), work(name, type="classic", max_priority=3))
    assert found == {"x-max-priority": (5, Untold.OTHER)}
    error = QueueMismatch(name, found)
    assert "x-max-priority: declared 5, the broker has another value" in str(error)
    assert pickle.loads(pickle.dumps(error)).differences == found


def test_nothing_that_was_cut_off_is_found_out_by_trying() -> None:
    name = "ü" * 90
    found = probed(work(name, type="classic", max_priority=5), work(name, type="classic"))
    assert found == {"x-max-priority": (5, None)}


def test_a_queue_that_went_away_meanwhile_ends_the_search() -> None:
    probe = Probe(work(delivery_limit=7))
    assert probe.learn(refusal(work(delivery_limit=7), work()) or "")
    gone = (
        "PRECONDITION_FAILED - invalid arg 'x-max-age' for queue 'work' in vhost '/' of queue type rabbit_quorum_queue"
    )
    assert not probe.learn(gone)
    assert probe.differences == {"x-delivery-limit": (7, 20)}


def test_a_broker_that_compares_the_guard_ends_the_search() -> None:
    probe = Probe(work())
    assert not probe.learn(_text("x-max-age", "the value '1h' of type 'longstr' but current is none", "work"))
    assert probe.differences == {}


def test_a_broker_that_contradicts_itself_ends_the_search() -> None:
    probe = Probe(work(delivery_limit=7))
    text = _text("x-delivery-limit", "'7' but current is '20'", "work")
    learned = [probe.learn(text) for _ in range(4)]
    assert learned[-1] is False
    assert list(probe.differences) == ["x-delivery-limit"]


def test_a_queue_of_another_connection_is_exclusive() -> None:
    text = (
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'work' in vhost '/'. It could be originally "
        "declared on another connection or the exclusive property value does not match that of the original "
        "declaration."
    )
    assert read_complaint(text, work()) == Complaint("exclusive", (True,), False)
    probe = Probe(work())
    assert not probe.learn(text)
    assert probe.differences == {"exclusive": (False, True)}


@pytest.mark.parametrize(
    "text",
    [
        "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'work' in vhost '/': {value_negative,-5}",
        "PRECONDITION_FAILED - unknown delivery tag 1",
        "NOT_FOUND - no queue 'work' in vhost '/'",
        "",
    ],
)
def test_other_refusals_are_no_complaint(text: str) -> None:
    assert read_complaint(text, work()) is None
    assert Probe(work()).learn(text) is False
