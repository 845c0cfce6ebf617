"""The log systems of `workers/`: real workers and listeners, `taskq publish`, and what is said of bad input."""

import pytest

from taskq import Exchange, TaskQ
from tests.support import orders
from tests.support.commandline import Said
from tests.support.system import System, done, heard, inside, notes, stop, until_done
from workers import logs_direct, logs_fanout, logs_topic
from workers.logs_topic import LogLine

FANOUT = "workers.logs_fanout:app"
DIRECT = "workers.logs_direct:app"
TOPIC = "workers.logs_topic:app"
ORDERS = "tests.support.orders:app"
SEVERITIES = ("debug", "info", "warning", "error")


def publish(app: TaskQ, exchange: Exchange, payload: object, *keys: str) -> None:
    """Publish the same with each of some keys, one after the other."""

    async def each() -> None:
        for key in keys:
            await exchange.publish(payload, key=key)

    inside(app, each)


def only_line(said: Said) -> str:
    """The one line that a command which failed has written."""
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


# Publish and subscribe.


def test_every_listener_gets_every_line_from_its_start_on(system: System) -> None:
    said = system.run("publish", FANOUT, "logs", '"nobody is there"')
    assert (said.status, said.err) == (0, "")
    show, save = system.workers((FANOUT, "--queue", "show"), (FANOUT, "--queue", "save"))
    (early,) = system.listeners((FANOUT, "logs", "--count", "3"))
    assert system.run("publish", FANOUT, "logs", '"some are there"').status == 0
    early.until(lambda: heard(early), "it hears the line")
    (late,) = system.listeners((FANOUT, "logs", "--count", "2"))
    publish(logs_fanout.app, logs_fanout.logs, "all are there", "", "any key")
    assert (early.ended(), late.ended()) == (0, 0)
    until_done([show], 3)
    until_done([save], 3)
    everything = ["some are there", "all are there", "all are there"]
    assert (notes(show), system.lines("logs.txt")) == (everything, everything)
    assert [text for _, text in heard(early)] == everything
    assert heard(late) == [("", "all are there"), ("any key", "all are there")]


# Routing.


def test_each_listener_gets_the_severities_that_it_chose(system: System) -> None:
    show, errors = system.workers((DIRECT, "--queue", "show"), (DIRECT, "--queue", "errors"))
    (listener,) = system.listeners((DIRECT, "logs.direct", "warning", "error", "--count", "4"))
    assert "listening to logs.direct (direct) for warning, error; Ctrl-C ends" in listener.log
    publish(logs_direct.app, logs_direct.logs, "again", *SEVERITIES, "fatal", *SEVERITIES)
    assert listener.ended() == 0
    assert heard(listener) == 2 * [("warning", "again"), ("error", "again")]
    until_done([show], 8)
    until_done([errors], 2)
    assert notes(show) == 2 * [f"{severity}: again" for severity in SEVERITIES]
    assert system.lines("errors.txt") == ["again", "again"]


def test_errors_are_kept_while_their_worker_is_away(system: System) -> None:
    keeping = (DIRECT, "--queue", "errors")
    (first,) = system.workers(keeping)
    stop(first)
    publish(logs_direct.app, logs_direct.logs, "kept", "info", "error")
    said = system.run("publish", DIRECT, "logs.direct", '"the disk is full"', "--key", "error", "--mandatory")
    assert (said.status, said.err) == (0, "")
    (second,) = system.workers(keeping)
    until_done([second], 2)
    assert done(second)[1] == said.out.strip()
    assert system.lines("errors.txt") == ["kept", "the disk is full"]


# Topics.


def test_each_listener_gets_what_its_patterns_let_through_once(system: System) -> None:
    (worker,) = system.workers((TOPIC,))
    every, kernel, both = system.listeners(
        (TOPIC, "logs.topic", "--count", "4"),
        (TOPIC, "logs.topic", "kern.*", "--count", "2"),
        (TOPIC, "logs.topic", "kern.*", "*.critical", "--count", "3"),
    )
    line = LogLine(host="db1", text="out of memory")
    keys = ["kern.info", "cron.info", "cron.critical", "kern.critical"]
    publish(logs_topic.app, logs_topic.logs, line, *keys)
    assert [listener.ended() for listener in (every, kernel, both)] == [0, 0, 0]
    assert heard(every) == [(key, line.model_dump()) for key in keys]
    assert [key for key, _ in heard(kernel)] == ["kern.info", "kern.critical"]
    assert [key for key, _ in heard(both)] == ["kern.info", "cron.critical", "kern.critical"]
    until_done([worker], 3 + 4)
    assert notes(worker) == [f"{key} on db1: out of memory" for key in (keys[0], keys[2], keys[3])]
    assert system.lines("archive.txt") == [f"{key} db1 out of memory" for key in keys]


def test_the_animals_of_the_tutorial_go_where_it_says(system: System) -> None:
    orange, lazy = system.listeners(
        (TOPIC, "logs.topic", "*.orange.*", "--count", "4"),
        (TOPIC, "logs.topic", "*.*.rabbit", "lazy.#", "--count", "7"),
    )
    for_both = ["quick.orange.rabbit", "lazy.orange.elephant"]
    for_orange = ["quick.orange.fox"]
    for_lazy = ["lazy.brown.fox", "lazy.pink.rabbit", "lazy.orange.male.rabbit", "lazy"]
    for_none = ["quick.brown.fox", "orange", "quick.orange.male.rabbit", ""]
    last = "lazy.orange.rabbit"  # for both: what came before it has come when it comes
    animals = [*for_both, *for_orange, *for_lazy, *for_none, last]
    publish(logs_topic.app, logs_topic.logs, LogLine(host="zoo", text="seen"), *animals)
    assert (orange.ended(), lazy.ended()) == (0, 0)
    assert [key for key, _ in heard(orange)] == [*for_both, *for_orange, last]
    assert [key for key, _ in heard(lazy)] == [*for_both, *for_lazy, last]


# Subscriptions that fail.


def test_a_subscription_that_fails_twice_runs_three_times_and_the_others_once(system: System) -> None:
    (worker,) = system.workers((ORDERS,))
    publish(orders.app, orders.orders, 7, "order.new")
    until_done([worker], 3)
    assert sorted(notes(worker)) == ["bill 7", "bill 7", "bill 7", "pack 7", "watch 7"]
    retried, succeeded = worker.events("JobRetried"), worker.events("JobSucceeded")
    assert [(event["task"], event["attempt"]) for event in retried] == [("bill", 1), ("bill", 2)]
    assert sorted((event["task"], event["attempt"]) for event in succeeded) == [("bill", 3), ("pack", 1), ("watch", 1)]
    assert len({event["job_id"] for event in [*retried, *succeeded]}) == 1, "an event has one id for all"


# Bad input.


@pytest.mark.one_broker
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("publish", FANOUT, "log", '"x"'), "app 'logs-fanout' has no exchange 'log'; did you mean 'logs'?"),
        (("publish", FANOUT, "logs", "disk"), "the payload is no JSON: 'disk'; a text is written '\"disk\"'"),
        (("publish", TOPIC, "logs.topic", '{"host": "db1"}'), "exchange logs.topic: payload.text: is required"),
        (("publish", DIRECT, "logs.direct", '"x"', "--key", "é" * 128), "has 256 bytes; AMQP has at most 255"),
        (("listen", TOPIC, "logs.topic", "kern.*x"), "in the pattern 'kern.*x', '*x' would match that very text"),
    ],
)
def test_bad_input_is_one_line_and_status_2(system: System, arguments: tuple[str, ...], complaint: str) -> None:
    said = system.run(*arguments)
    assert said.status == 2
    assert only_line(said).startswith("taskq: ")
    assert complaint in only_line(said)


@pytest.mark.broker_problems("inequivalent arg 'type'")
def test_an_exchange_of_another_kind_is_one_line_and_status_3(system: System) -> None:
    other = TaskQ("other")
    publish(other, other.exchange("logs", kind="topic", payload=str), "x", "any.key")
    for arguments in (("publish", FANOUT, "logs", '"x"'), ("worker", FANOUT)):
        said = system.run(*arguments)
        assert said.status == 3
        assert only_line(said).startswith("taskq: exchange 'logs' exists otherwise")


def test_an_event_that_must_not_be_for_nobody_is_one_line_and_status_3(system: System) -> None:
    said = system.run("publish", FANOUT, "logs", '"x"', "--mandatory")
    assert said.status == 3
    assert only_line(said).startswith("taskq: exchange 'logs' passes the key '' to no queue")
