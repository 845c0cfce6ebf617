"""What becomes of a delivery when the broker will never take what was to replace it."""

from typing import cast

import pytest

from taskq.errors import MessageTooLarge, UsageError
from taskq.wire import headers as h
from taskq.wire.dead import DeadReason, read_dead_letter
from taskq.wire.failure import Failure
from taskq.wire.job import read_job
from taskq.wire.message import Message
from taskq.wire.reply import Failed, read_reply
from taskq.worker.refusal import Final, instead
from taskq.worker.settle import replacements
from taskq.worker.verdict import Bury, Complete, Cut, HandBack, LetExpire, PutOff, TryAgain, Verdict
from tests.support.jobs import JOB_ID, NOW, FakeDelivery, message

BODY = b"x" * 5_000
FAILURE = Failure("ValueError", "no " * 500, "Traceback …\n" * 100)
UNENCODABLE = UsageError("AMQP cannot carry this message: a name of 600 bytes")


def too_large(size: int, limit: int = 3_000) -> MessageTooLarge:
    return MessageTooLarge("the message", size, limit, fixed=True)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Complete(BODY), "its result cannot be sent: the message has 5,000 bytes, above the limit of 3,000"),
        (
            TryAgain(at=NOW, wait_s=0, attempt=2, attempts=3, error="ValueError: no"),
            "it failed (ValueError: no), and its copy for attempt 2 cannot be sent: the message has 5,000 bytes",
        ),
        (PutOff(NOW, 1), "its copy cannot be sent: the message has 5,000 bytes"),
        (HandBack(), "its copy cannot be sent: the message has 5,000 bytes"),
        (LetExpire(), "its end cannot be sent: the message has 5,000 bytes"),
    ],
)
def test_what_cannot_be_sent_buries_the_job_and_says_the_sizes(verdict: Verdict, words: str) -> None:
    buried = instead(verdict, too_large(5_000), message(body=b"{}"))
    assert (buried.reason, buried.failure.type, buried.cut) == (
        DeadReason.INVALID_RESULT,
        "taskq.MessageTooLarge",
        None,
    )
    assert words in buried.failure.message


def test_what_the_protocol_cannot_carry_buries_the_job_too() -> None:
    buried = instead(Complete(b"1"), UNENCODABLE, message())
    assert buried.failure == Failure("taskq.UsageError", f"its result cannot be sent: {UNENCODABLE}")


@pytest.mark.parametrize(
    ("cut", "error", "expected"),
    [
        (None, too_large(5_000), Cut(3_000, reply=True)),  # the dead letter
        (None, too_large(4_000), Cut(5_000, reply=True)),  # the answer to the caller
        (None, UNENCODABLE, Cut(5_000, reply=True)),
        (Cut(5_000, reply=True), too_large(5_000), Cut(3_000, reply=False)),
        (Cut(3_000, reply=True), UNENCODABLE, Cut(3_000, reply=False)),
        (Cut(3_000, reply=False), too_large(3_000, 2_000), Cut(0, reply=False)),
    ],
)
def test_a_dead_letter_that_is_refused_is_cut_further_each_time(cut: Cut | None, error: Final, expected: Cut) -> None:
    buried = instead(Bury(DeadReason.FAILED, FAILURE, cut), error, message(body=BODY))
    assert (buried.cut, buried.reason) == (expected, DeadReason.FAILED)
    assert ("its dead letter is cut" in buried.failure.message) == (cut is None)


def test_a_dead_letter_that_has_nothing_of_others_any_more_is_given_up() -> None:
    with pytest.raises(UsageError, match="a name of 600 bytes"):
        instead(Bury(DeadReason.FAILED, FAILURE, Cut(0, reply=False)), UNENCODABLE, message(body=BODY))


def strange() -> Message:
    """A job of a foreign program, whose texts AMQP carried and cannot carry again."""
    made = message(body=BODY)
    return Message(
        body=made.body,
        message_id=made.message_id,
        type="�" * 200,
        correlation_id="c",
        reply_to="answers",
        headers={**made.headers, "�" * 200: 1, "mine": "x" * 9_000, h.ENQUEUED_AT: 5},
    )


def test_a_cut_dead_letter_and_its_answer_have_little_of_others() -> None:
    delivery = FakeDelivery(strange())
    bury = instead(Bury(DeadReason.FAILED, FAILURE), too_large(5_000), delivery.message)
    reply, letter = replacements(bury, delivery, None, job_id=JOB_ID, now=NOW)
    answer = cast("Failed", read_reply(reply.message))
    assert (reply.queue, reply.message.correlation_id, answer.reason) == ("answers", "c", "failed")
    assert answer.failure.message.endswith("send a reference (a path, a key) instead)")
    assert reply.message.size < 1_000
    assert (letter.message.body, letter.message.type, letter.message.reply_to) == (BODY[:3_000], None, "answers")
    assert h.size_of(letter.message.headers) < 1_000
    read = read_dead_letter(letter.message, "default")
    assert (read.job_id, read.reason, read.enqueued_at) == (JOB_ID, "failed", 0.005)
    assert "the message has 5,000 bytes, above the limit of 3,000" in read.failure.message


def test_the_last_dead_letter_has_no_body_and_nobody_is_answered() -> None:
    delivery = FakeDelivery(message(attempt=2, body=BODY))
    job = read_job(delivery.message, "default")
    bury = Bury(DeadReason.FAILED, FAILURE, Cut(0, reply=False))
    (letter,) = replacements(bury, delivery, job, job_id=JOB_ID, now=NOW)
    assert (letter.queue, letter.message.body) == ("default.dead", b"")
    assert read_dead_letter(letter.message, "default").attempt == 2
