"""Log lines: every event is worded, nothing forges a line, and both formats say what matters."""

import io
import json
import logging
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq import TaskQ
from taskq import lifecycle as life
from taskq.lifecycle import Emitter, Event
from taskq.observability.lines import line_for
from taskq.observability.logs import HumanFormatter, JsonFormatter, configure, subscribe
from taskq.settings import LogFormat

EVIL = "x\n12:00:00.000 ERROR forged\r\x1b[2J\x9b31m\u2028\x00"
JOB = {"job_id": "0190-abc", "task": "images.resize", "queue": "images"}
RUN = {**JOB, "attempt": 2, "execution": 3}
ENDED = {**RUN, "duration_s": 0.25}
ROLE = {"label": "amqp://rabbit/", "role": "consume"}
CLIENT_LIBRARIES = ["aio_pika", "aiormq", "pamqp"]


def all_kinds() -> list[type[Event]]:
    """Return every event that can happen: those that are no root of others."""
    known = [kind for kind in vars(life).values() if isinstance(kind, type) and issubclass(kind, Event)]
    return [kind for kind in known if not any(kind is not other and issubclass(other, kind) for other in known)]


def sample(kind: type[Event], text: str = "text") -> Event:
    """Return an event of ``kind`` with some value of the right type in each field."""
    hints = typing.get_type_hints(kind)
    values: dict[str, object] = {}
    for field in kind.field_names:
        hint = str(hints[field])
        if "Mapping" in hint:
            values[field] = {text: 2}
        elif "BaseException" in hint:
            values[field] = ValueError(text)
        elif "bool" in hint:
            values[field] = True
        elif "int" in hint:
            values[field] = 7
        elif "float" in hint:
            values[field] = 1.5
        else:
            values[field] = text
    return kind(**values)


def record(level: int, message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("taskq", level, __file__, 1, message, (), None)
    made.__dict__.update(extra)
    return made


def lines(event: Event) -> tuple[str, dict[str, object]]:
    """Return an event as it stands in the human and in the JSON log."""
    line = line_for(event)
    made = record(line.level, line.text, taskq=line.fields)
    return HumanFormatter(colour=False).format(made), json.loads(JsonFormatter().format(made))


def test_there_are_events_to_test() -> None:
    assert {life.JobDead, life.LoopBlocked, life.ChildExited} < set(all_kinds())


@pytest.mark.parametrize("kind", all_kinds())
def test_every_event_is_worded(kind: type[Event]) -> None:
    human, fields = lines(sample(kind))
    assert kind.__name__ not in human
    assert kind.__name__ == fields["event"]


@pytest.mark.parametrize("kind", all_kinds())
def test_no_event_forges_a_line_or_steers_a_terminal(kind: type[Event]) -> None:
    line = line_for(sample(kind, EVIL))
    made = record(line.level, line.text, taskq=line.fields)
    human, as_json = HumanFormatter(colour=False).format(made), JsonFormatter().format(made)
    first, *others = human.split("\n")
    assert all(other.startswith("    ") for other in others)
    assert all(c.isprintable() for c in first + "".join(others))
    assert "\n" not in as_json
    assert as_json.isascii()
    json.loads(as_json)


@pytest.mark.parametrize(
    ("event", "level", "says"),
    [
        (life.JobSucceeded(**ENDED, replied=True), "INFO", ["done in 250 ms"]),
        (
            life.JobRetried(**ENDED, attempts=5, wait_s=4, error="ValueError: no"),
            "WARNING",
            ["failed attempt 2 of 5 after 250 ms: ValueError: no", "attempt 3 in 4.0 s"],
        ),
        (
            life.JobDead(**ENDED, reason="failed", error="ValueError: no", traceback="Traceback\n  line"),
            "ERROR",
            ["dead (failed)", "attempt 2", "250 ms", "ValueError: no", "kept in images.dead", "Traceback"],
        ),
        (life.JobSnoozed(**ENDED, wait_s=600), "INFO", ["snoozed after 250 ms", "attempt 2 again in 10 min"]),
        (life.JobExpired(**ENDED), "WARNING", ["expired", "attempt 2", "it will not run"]),
        (life.JobHandedBack(**ENDED), "WARNING", ["handed back after 250 ms", "starts attempt 2 again"]),
        (life.DeliveryLost(**ENDED), "WARNING", ["ended after 250 ms", "runs again"]),
    ],
)
def test_line_of_an_ended_execution_says_job_task_attempt_duration_and_what_happens_next(
    event: life.ExecutionEnded, level: str, says: list[str]
) -> None:
    human, fields = lines(event)
    assert all(part in human for part in ["images.resize", "[job 0190-abc]", level, *says]), human
    assert fields["level"] == level
    assert {**fields, **ENDED} == fields


def test_job_that_names_no_task_is_shown_as_such() -> None:
    human, fields = lines(life.JobExpired(**{**ENDED, "task": None}))
    assert "unknown task expired" in human
    assert "task" not in fields


@pytest.mark.parametrize(
    ("by_default", "interactive", "level"),
    [(True, True, "INFO"), (True, False, "WARNING"), (False, False, "INFO")],
)
def test_broker_that_nobody_chose_is_a_warning_outside_a_terminal(
    by_default: bool, interactive: bool, level: str
) -> None:
    human, _ = lines(
        life.AppOpened(app="shop", label="sqlite:////x.db", by_default=by_default, interactive=interactive)
    )
    assert level in human
    assert "broker sqlite:////x.db" in human
    assert ("TASKQ_URL" in human) is by_default


@pytest.mark.parametrize(
    ("event", "level", "says"),
    [
        (life.BrokerConnected(**ROLE, again=False), "DEBUG", "connected to amqp://rabbit/ to consume"),
        (life.BrokerConnected(**ROLE, again=True), "INFO", "connected again to amqp://rabbit/ to consume"),
        (
            life.BrokerLost(**ROLE, reason="reset by peer"),
            "WARNING",
            "the connection to consume to amqp://rabbit/ was lost (reset by peer); it is opened again",
        ),
        (
            life.BrokerAlarmed(label="amqp://rabbit/", reason="low on disk"),
            "WARNING",
            "amqp://rabbit/ takes no jobs at the moment (low on disk); enqueues wait until their deadline",
        ),
        (life.BrokerAlarmEnded(label="amqp://rabbit/"), "INFO", "amqp://rabbit/ takes jobs again"),
        (
            life.BrokerGone(label="sqlite:////q.db", reason="sqlite:////q.db was deleted or moved; start it again"),
            "ERROR",
            "sqlite:////q.db was deleted or moved; start it again",
        ),
        (
            life.ConsumerInterrupted(queue="images", reason="it was deleted"),
            "WARNING",
            "queue images is not consumed now (it was deleted); taskq tries again until it is",
        ),
        (life.ConsumerResumed(queue="images"), "INFO", "queue images is consumed again"),
    ],
)
def test_line_of_the_broker_says_what_happened_and_what_happens_next(
    event: life.BrokerEvent, level: str, says: str
) -> None:
    human, fields = lines(event)
    assert f"{level:<7} {says}" in human
    assert fields["level"] == level


class Odd(Exception):
    """It can be neither copied nor shown."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(a)

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def test_failed_listener_is_logged_whatever_its_error_is_like() -> None:
    emitter, stream = Emitter(), io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("taskq")
    logger.addHandler(handler)
    try:
        subscribe(emitter)

        def breaks(_: Event) -> None:
            raise Odd(1, 2)

        emitter.on(life.JobExpired, breaks)
        emitter.emit(life.JobExpired(**ENDED))
    finally:
        logger.removeHandler(handler)
    assert "breaks raised" in stream.getvalue()
    assert "test_logs.py" in stream.getvalue()


@pytest.fixture
def root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers = list(root.handlers)
    levels = {name: logging.getLogger(name).level for name in ("root", *CLIENT_LIBRARIES)}
    for handler in handlers:
        root.removeHandler(handler)  # configure closes what it finds
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("root_as_before")
@pytest.mark.parametrize(
    ("format", "stream", "human"),
    [
        (LogFormat.AUTO, Terminal(), True),
        (LogFormat.AUTO, io.StringIO(), False),
        (LogFormat.HUMAN, io.StringIO(), True),
        (LogFormat.JSON, Terminal(), False),
    ],
)
def test_format_follows_the_terminal_unless_it_is_chosen(format: LogFormat, stream: io.StringIO, human: bool) -> None:
    configure(format, "INFO", stream)
    logging.getLogger("taskq").warning("hello")
    text = stream.getvalue()
    assert "hello" in text
    assert text.startswith("{") is not human
    assert ("\x1b[33m" in text) is (human and stream.isatty())


@pytest.mark.usefixtures("root_as_before")
def test_level_holds_and_a_second_configuration_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure(LogFormat.JSON, "INFO", first)
    configure(LogFormat.JSON, "ERROR", second)
    logging.getLogger("taskq").warning("quiet")
    logging.getLogger("other.library").error("loud")
    assert first.getvalue() == ""
    assert [json.loads(line)["message"] for line in second.getvalue().splitlines()] == ["loud"]


@pytest.mark.usefixtures("root_as_before")
def test_client_libraries_of_the_broker_are_quiet_since_events_say_it_once() -> None:
    stream = io.StringIO()
    configure(LogFormat.JSON, "DEBUG", stream)
    for name in CLIENT_LIBRARIES:
        logging.getLogger(f"{name}.connection").error("shouting")
    logging.getLogger("asyncio").error("heard")
    assert [json.loads(line)["logger"] for line in stream.getvalue().splitlines()] == ["asyncio"]


async def test_app_that_is_opened_configures_no_logging() -> None:
    loggers = [logging.getLogger(name) for name in ("root", "taskq", *CLIENT_LIBRARIES)]
    before = [(each.level, each.handlers.copy()) for each in loggers]
    async with TaskQ("shop", url="memory://"):
        assert [(each.level, each.handlers) for each in loggers] == before


def test_lines_of_a_tasks_own_log_carry_the_job() -> None:
    made = record(logging.INFO, "half way\nforged", job_id="0190", task="resize", queue="images", attempt=2)
    assert HumanFormatter(colour=False).format(made).endswith("INFO    half way\n    forged [job 0190]")
    fields = json.loads(JsonFormatter().format(made))
    assert (fields["job_id"], fields["task"], fields["queue"], fields["attempt"]) == ("0190", "resize", "images", 2)


def test_own_fields_of_a_log_call_stand_in_the_json_and_replace_none_of_ours() -> None:
    made = record(logging.INFO, "half way", job_id="0190", rows=3, path=Path("cat.png"))
    made.__dict__["level"] = "forged"
    fields = json.loads(JsonFormatter().format(made))
    assert list(fields) == ["time", "level", "logger", "message", "job_id", "rows", "path"]
    assert (fields["level"], fields["rows"], fields["path"]) == ("INFO", 3, "cat.png")


def test_exception_of_a_log_call_is_in_both_formats() -> None:
    try:
        raise LookupError(EVIL)
    except LookupError as error:
        made = record(logging.ERROR, "failed")
        made.exc_info = (type(error), error, error.__traceback__)
    human = HumanFormatter(colour=False).format(made)
    assert "LookupError" in human
    assert "\x1b" not in human
    assert all(line.startswith("    ") for line in human.split("\n")[1:])
    assert "LookupError" in json.loads(JsonFormatter().format(made))["exception"]
