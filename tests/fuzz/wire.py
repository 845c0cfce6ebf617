"""What is read of a message, fed with what no good program sends: jobs, replies, dead letters, events and arguments.

What has to hold: `WireError`s and `InvalidArguments` are all that comes out, within bounds of time and memory; what can
be read can be replaced (by a retry's copy, a dead letter, what is left of one), and the broker can carry that; what was
read as arguments is written as what reads the same; and whatever a message says, its lines in a log are lines of one
record, without a character that steers a terminal.
"""

from __future__ import annotations

import io
import json
import logging
import math
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from random import Random
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from taskq.broker.amqp.plane.events import Delivered
from taskq.broker.amqp.plane.properties import encode_content
from taskq.broker.amqp.received import received
from taskq.broker.protocol import Outgoing
from taskq.broker.sqlite.packing import pack, unpack
from taskq.cli.letters import as_json, cells, show_letter
from taskq.cli.table import show_json
from taskq.errors import InvalidArguments, UndecodableMessage
from taskq.lifecycle import JobDead
from taskq.observability.lines import line_for
from taskq.observability.logs import HumanFormatter, JsonFormatter
from taskq.tasks.payload import Payload
from taskq.tasks.signature import Signature
from taskq.wire import headers as h
from taskq.wire.dead import DeadReason, new_dead_letter, read_dead_letter, remnant, revived
from taskq.wire.event import is_foreign, new_event, read_event
from taskq.wire.failure import Failure
from taskq.wire.job import JobMessage, read_job
from taskq.wire.message import Message
from taskq.wire.reply import new_reply, read_reply
from tests.fuzz import inputs
from tests.fuzz.engine import Case, Fuzzer, smaller_bytes

NOW = 1_763_933_973.0


class Kind(Enum):
    A = "a"
    B = 2


class Model(BaseModel):
    a: int = 0
    b: str | None = None
    items: list[float] = []


def nothing() -> None: ...
def one(n: int) -> None: ...
def anything(a: Any, b: Any = None) -> Any: ...
def text(s: str) -> str: ...
def raw(data: bytes) -> bytes: ...
def times(
    when: datetime, how_long: timedelta = timedelta(0), a: date | None = None, b: time | None = None
) -> timedelta: ...
def values(uid: UUID, price: Decimal = Decimal(0), n: float = 0.0, kind: Kind = Kind.A) -> Decimal: ...
def several(items: list[int], by_name: dict[str, float] | None = None) -> list[datetime]: ...
def modelled(m: Model, kind: Literal["x", 1] = "x") -> Model: ...
def variadic(*items: int, **by_name: float) -> dict[int, set[int]]: ...
def positional(a: int, /, b: str = "", *, n: int = 0) -> tuple[int, str]: ...


TASKS = [nothing, one, anything, text, raw, times, values, several, modelled, variadic, positional]
SIGNATURES = [Signature.of(function.__name__, function, context=False) for function in TASKS]
PAYLOADS = [Payload("exchange", annotation) for annotation in (Any, int, str, bytes, datetime, list[Decimal], Model)]


class WireFuzzer(Fuzzer):
    """See the module."""

    def draw(self, rng: Random) -> Case:
        """Return a message, or a body."""
        kind = rng.choice(("message", "message", "reply", "event", "arguments", "arguments", "arguments", "shown"))
        if kind == "arguments":
            body = inputs.body(rng)
            return Case(kind, (rng.randrange(len(SIGNATURES)), body), len(body))
        message = from_amqp(rng) if rng.random() < 0.6 else from_sqlite(rng)
        return Case(kind, message, message.size)

    def check(self, case: Case) -> None:
        """Raise when a property does not hold."""
        CHECKS[case.kind](case.data)

    def smaller(self, case: Case) -> Iterator[Case]:
        """Yield the input with less in it."""
        if case.kind == "arguments":
            number, body = case.data
            for data in smaller_bytes(body):
                yield Case(case.kind, (number, data), len(data))
            return
        message: Message = case.data
        for name in message.headers:
            yield _case(case, message._replace(headers={k: v for k, v in message.headers.items() if k != name}))
        for field, empty in _EMPTY.items():
            if getattr(message, field) != empty:
                yield _case(case, message._replace(**{field: empty}))
        for data in smaller_bytes(message.body):
            yield _case(case, message._replace(body=data))


_EMPTY: dict[str, Any] = {**Message(b"", "")._asdict(), "content_type": None}


def _case(case: Case, message: Message) -> Case:
    return Case(case.kind, message, message.size)


def from_amqp(rng: Random) -> Message:
    """Return a message as it comes out of RabbitMQ: whatever AMQP can carry."""
    content = inputs.content(rng, 0)
    return received(Delivered(1, rng.random() < 0.3, content, inputs.body(rng))).message


def from_sqlite(rng: Random) -> Message:
    """Return a message as it comes out of the embedded broker: whatever JSON can carry."""

    def some_text() -> str | None:
        return rng.choice((None, *inputs.ODD_TEXTS, *inputs.TEXTS_OF_JSON_ONLY))

    return Message(
        body=inputs.body(rng),
        message_id=some_text() or "",
        type=some_text(),
        correlation_id=some_text(),
        reply_to=some_text(),
        content_type=some_text(),
        content_encoding=some_text(),
        timestamp=rng.choice((None, *inputs.INSTANTS, 2**64 - 1)),
        app_id=some_text(),
        priority=rng.choice((None, 0, 255)),
        headers={
            rng.choice((*inputs.HEADER_NAMES, *inputs.ODD_TEXTS, "\ud800")): _header(rng)
            for _ in range(rng.choice((0, 1, 3, 10)))
        },
    )


def _header(rng: Random, depth: int = 0) -> object:
    match rng.randrange(9 if depth < 3 else 7):
        case 0:
            return rng.choice(inputs.NUMBERS)
        case 1:
            return rng.choice((0.5, 1e300, -0.0, True, False, None, 2**70, -(2**70)))
        case 2:
            return rng.choice(inputs.INSTANTS)
        case 3 | 4:
            return rng.choice(("failed", "expired", "cancelled", *(str(reason) for reason in DeadReason)))
        case 5 | 6:
            return rng.choice((*inputs.ODD_TEXTS, *inputs.TEXTS_OF_JSON_ONLY))
        case 7:
            return [_header(rng, depth + 1) for _ in range(rng.randrange(4))]
        case _:
            return {
                rng.choice(("queue", "reason", "time", "a")): _header(rng, depth + 1) for _ in range(rng.randrange(4))
            }


# What has to hold of a message.


def check_message(message: Message) -> None:
    """It is read as a job or not; whatever replaces it can be carried by the broker that it came from."""
    assert h.size_of(message.headers) >= 0
    h.users(message.headers)
    job: JobMessage | None
    try:
        job = read_job(message, "work")
    except UndecodableMessage as error:
        job = None
        assert len(str(error)) < 1000  # noqa: PT017  # either is right
    if job is not None:
        assert job.job_id
        again = read_job(carried(message, job.copy(attempt=2, execution=3, eta=NOW, error="E: " + "é" * 900)), "work")
        assert (again.attempt, again.execution) == (2, 3)
        assert again.task == job.task
        if message.message_id or job.job_id == message.correlation_id:
            assert again.job_id == job.job_id
        assert h.size_of(again.message.headers) <= 2 * h.LARGEST_HEADERS
    _bury(message, job)


def _bury(message: Message, job: JobMessage | None) -> None:
    failure = Failure("é" * 500, "\ud800\n" * 5000, "x" * 50_000)
    letter = new_dead_letter(
        message,
        job_id="job",
        queue="work",
        reason=DeadReason.UNDECODABLE,
        failure=failure,
        attempt=job.attempt if job else 1,
        execution=job.execution if job else 1,
        now=NOW,
    )
    read = read_dead_letter(carried(message, letter), "work")
    assert (read.job_id, read.reason, read.queue, read.died_at) == ("job", "undecodable", "work", NOW)
    for size in (0, 10):
        left = remnant(message, size)
        assert len(left.body) <= size
        carried(message, left)
    theirs = read_dead_letter(message, "work")  # a dead letter that others have forged
    back = carried(message, revived(theirs))
    try:
        assert read_job(back, "work").attempt == 1
    except UndecodableMessage as error:
        known = ("taskq-version", "wire version", "taskq-e")
        assert any(each in str(error) for each in known), error  # noqa: PT017  # either is right


def carried(origin: Message, message: Message) -> Message:
    """Return a message as it comes out of the broker that ``origin`` came from."""
    if _of_amqp(origin):
        return received(Delivered(1, False, encode_content(message), message.body)).message
    packed = pack(Outgoing(message, "work"), NOW)
    return unpack(packed.properties, packed.body)


def _of_amqp(message: Message) -> bool:
    """Say whether AMQP can carry it: what comes from there, it can."""
    try:
        encode_content(message)
    except Exception:
        return False
    return True


def check_reply(message: Message) -> None:
    """It is read as a reply or not; an error's is within the budgets."""
    for foreign in (False, True):
        try:
            reply = read_reply(message, foreign=foreign)
        except UndecodableMessage as error:
            assert len(str(error)) < 1000  # noqa: PT017  # either is right
            continue
        assert new_reply(reply, "caller").correlation_id == "caller"
        for signature in SIGNATURES:
            if message.type in (None, "", "result"):
                decode = signature.decode_foreign_result if foreign else signature.decode_result
                _within(UndecodableMessage, decode, message.body)


def check_event(message: Message) -> None:
    """It is read as an event or not."""
    try:
        job = read_job(message, "work")
    except UndecodableMessage:
        return
    for payload in PAYLOADS:
        read = partial(payload.read, message.body, foreign=is_foreign(message))
        value = _within((InvalidArguments, UndecodableMessage), read)
        if not isinstance(value, _Refused):
            event = read_event(job, value)
            assert all(isinstance(each, h.HeaderValue) for each in event.headers.values())
            new_event(message.body, now=NOW, app_id="a", headers=event.headers)


class _Refused(Exception):
    """What was refused as it may be."""


def _within(allowed: Any, what: Any, *arguments: Any) -> Any:
    """Return the answer, or a `_Refused`; an error has a text of a bounded length."""
    try:
        return what(*arguments)
    except allowed as error:
        assert len(str(error)) < 20_000, len(str(error))  # noqa: PT017  # either is right
        return _Refused()


def check_arguments(data: tuple[int, bytes]) -> None:
    """A body is read as arguments or not; what was read, is written as what reads the same."""
    number, body = data
    signature = SIGNATURES[number]
    allowed = (InvalidArguments, UndecodableMessage)
    decoded = _within(allowed, signature.decode, body)
    _within(allowed, signature.decode_foreign, body)
    result = _within(UndecodableMessage, signature.decode_result, body)
    if not isinstance(decoded, _Refused):
        written = _within(InvalidArguments, lambda: signature.encode(decoded.args, decoded.kwargs))
        if not isinstance(written, _Refused):
            again = signature.decode(written)
            assert same(again.args, decoded.args), (again, decoded)
            assert same(again.kwargs, decoded.kwargs), (again, decoded)
    if not isinstance(result, _Refused):
        written = _within(InvalidArguments, signature.encode_result, result)
        assert isinstance(written, _Refused) or same(signature.decode_result(written), result)


def same(one: Any, other: Any) -> bool:
    """Say whether two values are the same, NaN being itself."""
    match one:
        case dict():
            return (
                isinstance(other, dict)
                and one.keys() == other.keys()
                and all(same(v, other[k]) for k, v in one.items())
            )
        case list() | tuple():
            return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
        case float() if math.isnan(one):
            return isinstance(other, float) and math.isnan(other)
        case Decimal() if one.is_nan():
            return isinstance(other, Decimal) and other.is_nan()
        case BaseModel():
            return type(one) is type(other) and same(one.__dict__, other.__dict__)
        case _:
            return bool(one == other)


# What has to hold of what is shown.


def check_shown(message: Message) -> None:
    """Whatever is in a message: a line of a log is one record, and nothing steers a terminal."""
    letter = read_dead_letter(message, "work")
    event = JobDead(
        job_id=letter.job_id,
        task=letter.task,
        queue=letter.queue,
        attempt=letter.attempt,
        execution=letter.execution,
        duration_s=0.1,
        reason=letter.reason,
        error=letter.failure.short,
        traceback=letter.failure.traceback,
    )
    line = line_for(event)
    record = logging.makeLogRecord({"name": "taskq", "levelno": logging.ERROR, "levelname": "ERROR", "msg": "%s"})
    record.args, record.taskq = (line.text,), line.fields
    harmless(line.text)
    assert all(row.startswith("    ") for row in line.text.split("\n")[1:]), line.text
    shown = HumanFormatter(colour=False).format(record)
    harmless(shown)
    assert all(row.startswith("    ") for row in shown.split("\n")[1:]), shown
    logged = JsonFormatter().format(record)
    harmless(logged)
    assert "\n" not in logged
    assert json.loads(logged)["event"] == "JobDead"
    out = io.StringIO()
    with redirect_stdout(out):
        show_letter(letter)
        show_json(as_json(letter, whole=True))
        show_json(cells(letter))
    harmless(out.getvalue())
    headings = [row for row in out.getvalue().partition("{\n")[0].split("\n") if row and not row.startswith(" ")]
    assert len(headings) <= 12, headings


def harmless(text: str) -> None:
    """Assert that a terminal shows the text as it is."""
    odd = [character for character in text if not character.isprintable() and character != "\n"]
    assert not odd, odd[:10]


CHECKS: dict[str, Any] = {
    "message": check_message,
    "reply": check_reply,
    "event": check_event,
    "arguments": check_arguments,
    "shown": check_shown,
}
