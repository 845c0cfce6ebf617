"""Declarations as frames, read back by the client library's own reader."""

import pamqp.frame
import pytest

from taskq.broker.amqp.frames import Declaration, answered_once, declaration, deletion, look
from taskq.broker.amqp.topology import Binding, ExchangeSpec, QueueSpec

LONG = "ü" * 120


def read(frame: Declaration) -> dict[str, object]:
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
    assert read(declaration(Binding("e", LONG, "*.k"))) == {"queue": LONG, "exchange": "e", "routing_key": "*.k"}
    assert read(declaration(Binding("e", LONG, "k", to_exchange=True))) == {
        "destination": LONG,
        "source": "e",
        "routing_key": "k",
    }


def test_the_last_frame_alone_is_answered() -> None:
    frames = answered_once([look("a"), declaration(Binding("e", "q")), declaration(ExchangeSpec("e", "topic"))])
    assert [frame.nowait for frame in frames] == [True, True, False]
