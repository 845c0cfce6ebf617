"""Hostile messages between good jobs: the worker neither dies, stalls nor grows, and buries each with its reason."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from random import Random
from struct import pack
from typing import Any

import pika
import pytest

from taskq.broker.amqp.plane.faults import ProtocolViolation
from taskq.broker.amqp.plane.tables import decode_table
from taskq.broker.protocol import Outgoing
from taskq.errors import BrokerError, UsageError
from taskq.wire.ids import new_job_id, new_message_id
from taskq.wire.job import new_job
from taskq.wire.message import Message
from tests.fuzz import inputs, wire
from tests.support.program import double
from tests.support.raw import HEADERS, RawProperties, publish, table
from tests.support.stage import Stage
from tests.support.workers import WorkerProcess

pytestmark = pytest.mark.broker_problems()  # RabbitMQ refuses some names, and fails inside for others

QUEUE = "strict"
LARGE = 8 << 20  # bytes; below what every broker takes
SLOWEST_S = 10.0  # a good job among them, on a loaded machine; alone it takes milliseconds
GROWTH_KB = 60_000

GOOD = b'{"number": 1}'


def job(body: bytes = GOOD, task: str = "double", **changes: Any) -> Message:
    """Return a job of ours with changes; ``headers`` are added."""
    message = new_job(task=task, job_id=new_job_id(), queue=QUEUE, body=body, now=time.time())
    headers = {**message.headers, **changes.pop("headers", {})}
    return message._replace(headers=headers, **changes)


HEADER_NUMBERS: list[object] = [-1, 0, 2**63 - 1, -(2**63), "1", 1.5, True, None, [1], {"a": 1}, 1e300]
REPLIES_TO = [
    *(QUEUE, f"{QUEUE}.dead", "work", "taskq.unroutable", "amq.direct", "amq.gen-x", "amq.rabbitmq.reply-to.x.y"),
    *("x" * 255, "\ud800", "\x1b[2J", "a\nb", "#", "*", " ", "taskq.reply.00000000-0000-4000-8000-000000000000"),
]
TASKS = ["", "double\n", "\x1b[31mdouble", "x" * 255, "double\0", "__class__", "../double", "\u202eelbuod", "error"]


def crafted() -> list[Message]:
    """Return messages that are hostile each in one way, and otherwise a good job."""
    headers = [
        *({name: value} for name in ("taskq-attempt", "taskq-execution", "taskq-version") for value in HEADER_NUMBERS),
        *({"taskq-deadline": value} for value in ("soon", -1, 2**62, 1e300, -1e300, [])),
        *({"taskq-redeliveries": value} for value in (2**62, -1, "x")),
        *({"x-delivery-count": value} for value in (-1, "x")),
        {"taskq-execution": 2**62},
        {"taskq-job-id": "a\nb"},
        {"taskq-dead-reason": "failed\n\x1b[2Jforged", "taskq-error-message": "\x1b[31m"},
        {"x-death": [{"queue": "a", "reason": "\x1b[2J", "count": 1}]},
    ]
    bodies = [
        *(b"", b"\0", b"\xff\xfe", b"[" * 100_000, b'{"number":' * 50_000, b'{"number": 1', b"null", b"[1]", b"1"),
        *(b'{"number": NaN}', b'{"number": 1e999}', b'{"number": ' + b"9" * 5000 + b"}", b'{"number": "\\ud800"}'),
        *(b'{"number": 1} {}', '{"number": 1}'.encode("utf-16"), '{"number": "ü"}'.encode("latin-1")),
        b'{"number": ["' + b"x" * LARGE + b'"]}',
        b'{"number": [' + b"1," * 200_000 + b"1]}",
        b'{"number": 1, ' + b", ".join(b'"n%d": 1' % n for n in range(20_000)) + b"}",
        b"\x1f\x8b\x08\0" + os.urandom(100),
    ]
    return [
        *(job(headers=changed) for changed in headers),
        *(job(body) for body in bodies),
        *(job(b"{}", task=task) for task in TASKS),
        *(job(b"{}", reply_to=name) for name in REPLIES_TO),
        *(job(b"{}", content_encoding=name) for name in ("gzip", "deflate", "\x1b[2J")),
    ]


def drawn(rng: Random, embedded: bool) -> Message:
    """Return a message as the fuzzers draw it, so that nobody has thought of it before."""
    message = (wire.from_sqlite if embedded else wire.from_amqp)(rng)
    # Without those that ask RabbitMQ for further copies, and the one that lets it wait on until the year 9999.
    headers = {name: value for name, value in message.headers.items() if name not in ("CC", "BCC", "taskq-not-before")}
    return message._replace(message_id=new_message_id(), headers=headers)


async def send(stage: Stage, message: Message) -> bool:
    """Publish to the queue under test; say whether the broker could take it."""
    try:
        await stage.broker.publish(Outgoing(message, QUEUE), timeout_s=10)
    except (UsageError, BrokerError):
        return False
    return True


def memory_kb(worker: WorkerProcess) -> int:
    """Return the resident memory of a worker."""
    status = Path(f"/proc/{worker.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def ended(worker: WorkerProcess) -> Counter[str]:
    """Return how the executions of a worker have ended, by kind."""
    kinds = ("JobDead", "JobExpired", "JobSucceeded", "JobRetried", "DeliveryLost")
    return Counter({kind: len(worker.events(kind)) for kind in kinds})


async def good_job(number: int) -> float:
    """Run a good job on the same queue, and return the seconds that it took."""
    began = time.monotonic()
    assert await double.with_options(reply_timeout=60).call(number) == 2 * number
    return time.monotonic() - began


async def test_a_worker_buries_hostile_messages_each_with_its_reason_and_good_jobs_go_on(stage: Stage) -> None:
    worker = await stage.workers.start("--queue", f"{QUEUE}=2", "--queue", "work=1")
    rng = Random(1)
    await _round(stage, worker, [message for message in crafted() if len(message.body) < 1 << 20])
    before_kb = memory_kb(worker)
    taken, slowest_s = await _round(stage, worker, [*crafted(), *(drawn(rng, stage.embedded) for _ in range(400))])
    assert taken > 400
    assert slowest_s < SLOWEST_S
    assert worker.status is None
    assert memory_kb(worker) - before_kb < GROWTH_KB
    letters = await stage.dead(QUEUE)
    assert all(letter.reason for letter in letters)
    # Two rounds have sent a reply into the queue of dead letters itself, where nobody has buried it.
    buried = [letter for letter in letters if letter.died_at or letter.message.type != "error"]
    assert len(letters) - len(buried) <= 2
    assert [letter for letter in buried if not letter.failure.message or not letter.died_at] == []
    assert not worker.stray_output(), "no line of its log is forged or broken"


async def _round(stage: Stage, worker: WorkerProcess, messages: list[Message]) -> tuple[int, float]:
    """Send messages with good jobs between them; return how many were taken, and how long the slowest good job took."""
    before, letters_before = ended(worker), len(await stage.dead(QUEUE))
    taken, good, slowest_s = 0, 0, 0.0
    for number, message in enumerate(messages):
        taken += await send(stage, message)
        if number % 40 == 39:
            slowest_s = max(slowest_s, await good_job(number))
            good += 1

    def accounted() -> bool:
        after = ended(worker)
        assert not after["JobRetried"]
        return (after - before).total() >= taken + good

    await stage.until(accounted, f"all {taken} messages have ended", within_s=60)
    await stage.until_at_rest()
    ends = ended(worker) - before
    assert len(await stage.dead(QUEUE)) - letters_before >= ends["JobDead"]
    return taken, max(slowest_s, await good_job(7))


async def test_a_message_that_is_replayed_is_buried_or_run_each_time(stage: Stage) -> None:
    worker = await stage.workers.start("--queue", f"{QUEUE}=2")
    bad, good = job(b"no JSON"), job()
    old = job(headers={"taskq-enqueued-at": 1, "taskq-attempt": 1})
    for _ in range(100):
        for message in (bad, good, old):
            assert await send(stage, message)
    await stage.until(lambda: ended(worker)["JobSucceeded"] == 200, "the good ones have run", within_s=60)
    await stage.until_at_rest()
    letters = await stage.dead(QUEUE)
    assert [(letter.job_id, letter.reason) for letter in letters] == [(bad.correlation_id, "undecodable")] * 100
    assert worker.status is None


NAMES = [name for name in inputs.HEADER_NAMES if name.startswith("taskq-") and name != "taskq-not-before"]
RAW = (1 << 15, 1 << 14, 1 << 12, 1 << 11, 1 << 10, 1 << 9, 1 << 7, 1 << 6, 1 << 5, 1 << 3)


def taken_field(rng: Random) -> bytes:
    """Return a value that RabbitMQ takes: it ends the connection for a float that is no number."""
    while True:
        value = inputs.field(rng)
        try:
            decode_table(inputs.fields([(b"k", value)]))
        except ProtocolViolation as error:
            if "cannot have" in str(error):
                continue
        return value


def raw_properties(rng: Random) -> RawProperties:
    """Return properties byte for byte, as no client would write them and RabbitMQ takes them."""
    parts: list[tuple[int, bytes]] = []
    for flag in (*RAW[:2], HEADERS, *RAW[2:]):
        if rng.random() < 0.5:
            continue
        if flag == HEADERS:
            fields = {b"taskq-%d" % n: taken_field(rng) for n in range(rng.randrange(4))}
            names = [name.encode() for name in NAMES]
            fields |= {rng.choice(names): taken_field(rng) for _ in range(rng.randrange(4))}
            parts.append((flag, table(fields)))
        elif flag in (1 << 12, 1 << 11):
            parts.append((flag, bytes((rng.choice((1, 2)),))))
        elif flag == 1 << 6:
            parts.append((flag, pack(">Q", rng.choice((0, 2**63 - 1)))))
        else:
            text = inputs.short_text(rng)
            if text.startswith(b"amq.rabbitmq.reply-to"):  # RabbitMQ closes the channel of whoever has no such
                text = b"nobody"
            parts.append((flag, inputs.short(text)))
    return RawProperties(*parts)


async def test_messages_of_odd_bytes_are_accounted_for_one_by_one(stage: Stage) -> None:
    worker = await stage.workers.start("--queue", f"{QUEUE}=2")
    rng = Random(2)
    number = 500
    if stage.embedded:
        number = sum([await send(stage, drawn(rng, embedded=True)) for _ in range(number)])
    else:
        messages: list[tuple[pika.BasicProperties, bytes]]
        messages = [(raw_properties(rng), inputs.body(rng)) for _ in range(number)]
        await publish(stage.app.settings().url, QUEUE, messages)
    await stage.until(lambda: ended(worker).total() >= number, "all of them have ended", within_s=60)
    await stage.until_at_rest()
    assert ended(worker)["JobDead"] > 0.8 * number
    assert not worker.stray_output()
    assert worker.status is None
    assert await good_job(3) < SLOWEST_S


@pytest.mark.one_broker
async def test_what_hostile_messages_say_is_one_line_of_json_each(stage: Stage) -> None:
    worker = await stage.workers.start("--queue", f"{QUEUE}=1")
    evil = 'x"\n{"event": "JobDead", "job_id": "forged"}\r\x1b[2J\u2028'
    await send(stage, job(b'{"number": 1}', task=evil, headers={"mine": evil}))
    await send(stage, job(json.dumps({"number": evil}).encode()))
    await stage.until(lambda: ended(worker)["JobDead"] == 2, "both are buried")
    assert "forged" not in [event["job_id"] for event in worker.events("JobDead")]
    assert worker.output.isascii()
    assert not worker.stray_output()
