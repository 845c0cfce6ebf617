"""What becomes of a delivery when the broker will never take what was to replace it. Pure.

A result or a copy that is too large, or that the broker's protocol cannot carry, is refused at each try. So the job is
buried instead; and when the dead letter is refused too, less and less of what came from others is put into it. The last
one has no body, no answer to the caller, and nothing else that is not ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from taskq.errors import MessageTooLarge, UsageError
from taskq.wire.dead import DeadReason
from taskq.wire.failure import Failure
from taskq.wire.message import Message
from taskq.worker.verdict import Bury, Complete, Cut, Drop, HandBack, LetExpire, PutOff, TryAgain, Verdict

Final = MessageTooLarge | UsageError
"""The errors of a settle that every further try would meet."""


def instead(verdict: Verdict, error: Final, message: Message) -> Bury:
    """Return what becomes of the delivery of ``message`` instead. Raises ``error`` when nothing is left to try."""
    if not isinstance(verdict, Bury):
        kind = f"taskq.{type(error).__name__}"
        return Bury(DeadReason.INVALID_RESULT, Failure(kind, f"{_what(verdict)} cannot be sent: {error}").fitted())
    cut = _further(verdict.cut, error, len(message.body))
    if cut is None:
        raise error
    failure = verdict.failure
    if verdict.cut is None:
        failure = replace(failure, message=f"{failure.message} (its dead letter is cut: {error})").fitted()
    return Bury(verdict.reason, failure, cut)


def _further(cut: Cut | None, error: Final, whole: int) -> Cut | None:
    """Return what to leave out next. Which of the messages was too large is seen by its size."""
    body = whole if cut is None else cut.body
    if isinstance(error, MessageTooLarge) and error.size == body:
        body = min(body, error.limit)
    if cut is None or cut.reply:
        return Cut(body, reply=cut is None)
    return Cut(0, reply=False) if cut.body else None


def _what(verdict: Complete | TryAgain | PutOff | HandBack | LetExpire | Drop) -> str:
    match verdict:
        case Complete():
            return "its result"
        case TryAgain(attempt=attempt, error=error):
            return f"it failed ({error}), and its copy for attempt {attempt}"
        case PutOff() | HandBack():
            return "its copy"
        case LetExpire() | Drop():
            return "its end"
        case _:
            assert_never(verdict)
