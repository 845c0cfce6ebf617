"""Declarations as frames, read back by the client library's own reader."""

import pamqp.frame
import pytest
from pamqp import commands

from taskq.broker.amqp.frames import (
    Declaration,
    answered_once,
    declaration,
    deletion,
    look,
    look_at_exchange,
    unbinding,
)
from taskq.broker.amqp.plane.tables import decode_table, encode_table
from taskq.broker.amqp.topology import BindingSpec, ExchangeSpec, QueueSpec

LONG = "ü" * 120


def read(frame: Declaration | commands.Queue.Unbind) -> dict[str, object]:
    _, _, found = pamqp.frame.unmarshal(pamqp.frame.marshal(frame, 1))
    return {key: value for key, value in dict(found).items() if value and key != "ticket"}


@pytest.mark.parametrize("name", ["work", "it's *straße*", LONG])
def test_names_that_the_client_library_refuses_are_sent_as_they_are(name: str) -> None:
    assert read(declaration(QueueSpec(name, arguments={"x-max-priority": 5}))) == {
        "queue": name,
        "durable": True,
        "arguments": {"x-max-priority": 5},
    }
    assert read(look(name)) == {"queue": name, "passive": True}
    assert deletion(name).queue == name
    assert pamqp.frame.marshal(deletion(name), 1)
    exchange = ExchangeSpec(name, "topic", {"alternate-exchange": name})
    assert read(declaration(exchange)) == {
        "exchange": name,
        "exchange_type": "topic",
        "durable": True,
        "arguments": {"alternate-exchange": name},
    }


def test_flags_of_a_queue_are_sent() -> None:
    sent = read(declaration(QueueSpec("q", durable=False, exclusive=True, auto_delete=True)))
    assert sent == {"queue": "q", "exclusive": True, "auto_delete": True}


def test_bindings_go_to_queues_or_to_exchanges() -> None:
    assert read(declaration(BindingSpec("e", LONG, "*.k"))) == {"queue": LONG, "exchange": "e", "routing_key": "*.k"}
    assert read(declaration(BindingSpec("e", LONG, "k", to_exchange=True))) == {
        "destination": LONG,
        "source": "e",
        "routing_key": "k",
    }


def test_an_exchange_may_go_with_the_broker_and_may_be_asked_for() -> None:
    assert "durable" not in read(declaration(ExchangeSpec("e", "fanout", durable=False)))
    assert read(look_at_exchange(LONG)) == {"exchange": LONG, "exchange_type": "direct", "passive": True}


def test_header_values_of_a_binding_are_sent_as_messages_carry_them() -> None:
    values = {"text": "x", "small": 1, "large": 2**40, "float": 0.1, "yes": True, "x-match": "any"}
    spec = BindingSpec("e", "q", "k", arguments=values)
    for frame in (declaration(spec), unbinding(spec)):
        assert {**read(frame), "arguments": values} == {
            "queue": "q",
            "exchange": "e",
            "routing_key": "k",
            "arguments": values,
        }
        table = frame.marshal()[-len(encode_table(values)) :]
        assert decode_table(table) == (values, len(table)), "floats with all their digits, too"


def test_the_last_frame_alone_is_answered() -> None:
    frames = answered_once([look("a"), declaration(BindingSpec("e", "q")), declaration(ExchangeSpec("e", "topic"))])
    assert [frame.nowait for frame in frames] == [True, True, False]
