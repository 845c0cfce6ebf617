"""Messages that cannot be run: each becomes a dead letter with its reason, and none of them costs a slot."""

import pytest

from taskq.broker.protocol import Outgoing
from taskq.wire.ids import new_job_id, new_message_id
from taskq.wire.job import new_job
from taskq.wire.message import Message
from tests.support.program import double
from tests.support.stage import Stage

QUEUE = "strict"


def job(task: str, body: bytes, job_id: str, now: float = 1.7e9) -> Message:
    return new_job(task=task, job_id=job_id, queue=QUEUE, body=body, now=now)


def bad_message(number: int, job_id: str) -> tuple[Message, str]:
    """Return one of ten kinds of bad messages, and the reason that its dead letter has to give."""
    good = job("double", b'{"number": 1}', job_id)
    headers = dict(good.headers)
    kinds: list[tuple[Message, str]] = [
        (job("double", b"not json", job_id), "undecodable"),
        (job("double", b"\xff\xfe\x00", job_id), "undecodable"),
        (job("double", b"[1, 2]", job_id), "undecodable"),
        (job("double", b"", job_id), "undecodable"),
        (good._replace(headers={**headers, "taskq-version": 99}), "undecodable"),
        (good._replace(headers={**headers, "taskq-attempt": "many"}), "undecodable"),
        (good._replace(type=None), "unknown-task"),
        (job("no.such.task", b"{}", job_id), "unknown-task"),
        (job("double", b'{"number": "wide"}', job_id), "invalid-arguments"),
        (job("double", b'{"numbr": 1}', job_id), "invalid-arguments"),
    ]
    message, reason = kinds[number % len(kinds)]
    return message._replace(message_id=new_message_id()), reason


@pytest.mark.parametrize("number", [10, 50])
async def test_bad_messages_become_dead_letters_and_the_good_jobs_behind_them_run(stage: Stage, number: int) -> None:
    reasons: dict[str, str] = {}
    for n in range(number):
        job_id = new_job_id()
        message, reasons[job_id] = bad_message(n, job_id)
        stage.pen.wanted(job_id)
        await stage.app.connection.broker.publish(Outgoing(message, QUEUE), timeout_s=10)
        stage.pen.confirmed(job_id)
    good = await stage.enqueue_all(double.bind(n) for n in range(10))
    worker = await stage.workers.start("--queue", f"{QUEUE}=1")
    await stage.until_at_rest()
    letters = await stage.dead(QUEUE)
    assert {letter.job_id: letter.reason for letter in letters} == reasons
    assert all(letter.failure.message and letter.died_at for letter in letters)
    assert stage.returned() == {job.id for job in good}
    report = await stage.report()
    assert report.findings == (), str(report)
    assert await double.call(21) == 42, "the worker takes no more jobs"
    assert worker.status is None
    assert len(worker.events("JobDead")) == number
