"""What is remembered of declarations."""

from taskq.broker.amqp.declared import Declared
from taskq.tasks.exchanges import Binding, ExchangeDefinition
from taskq.tasks.queues import Queue

LOGS, NEWS = ExchangeDefinition(name="logs", kind="topic"), ExchangeDefinition(name="news", kind="headers")
A, B = Binding(exchange="logs", queue="work", key="a"), Binding(exchange="logs", queue="other", key="b")
BY_VALUE = [Binding(exchange="news", queue="work", headers={"n": number}) for number in range(2)]


def declared() -> Declared:
    everything = Declared()
    everything.add([Queue("work")], [LOGS, NEWS], [A, B, *BY_VALUE, A])
    everything.add(bindings=[A])
    return everything


def test_bindings_are_found_by_queue_and_by_exchange_once_each() -> None:
    assert declared().bindings_to("work") == [A, *BY_VALUE]
    assert declared().bindings_from("logs") == [A, B]
    assert declared().bindings_to("nowhere") == []


def test_the_exchanges_of_bindings_are_those_that_were_declared() -> None:
    theirs = Binding(exchange="theirs", queue="work", key="x")
    assert declared().exchanges_of([B, theirs, A, *BY_VALUE]) == [LOGS, NEWS]


def test_the_last_word_on_a_name_counts() -> None:
    everything = declared()
    everything.add([Queue("work", delivery_limit=3)], [ExchangeDefinition(name="logs", kind="topic", declare=False)])
    assert everything.queues["work"].delivery_limit == 3
    assert not everything.exchanges["logs"].declare


def test_what_is_forgotten_does_not_come_back() -> None:
    everything = declared()
    for _ in range(2):
        everything.forget(BY_VALUE[0])
    assert everything.bindings_to("work") == [A, BY_VALUE[1]]
    everything.forget_bindings_to("work")
    assert everything.bindings == [B]
