"""Errors and control exceptions: their texts say what to do, and they survive a process pool."""

import pickle
from typing import Any

import pytest

from taskq import errors
from taskq.errors import (
    EnqueueManyFailed,
    InvalidArguments,
    MessageTooLarge,
    PublishUnconfirmed,
    QueueMismatch,
    ResultTimeout,
    TaskFailed,
    TaskqError,
    UnknownTask,
    Unroutable,
)
from taskq.tasks.control import Reject, Retry, Snooze

KINDS: list[type[TaskqError]] = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TaskqError)),
    key=lambda kind: kind.__name__,
)
ARGUMENTS: dict[str, tuple[Any, ...] | dict[str, Any]] = {
    "InvalidArguments": ("resize", [("width", "is required"), ("", "too many")]),
    "UnknownTask": ("resize", ["a", "b"]),
    "Unroutable": ("images",),
    "ExchangeMismatch": ("logs", {"kind": ("topic", "fanout")}),
    "QueueMismatch": ("images", {"x-delivery-limit": (20, 5)}),
    "MessageTooLarge": ("the call of resize", 2_000_000, 1_048_576),
    "PublishUnconfirmed": ("job", 15.0, "j1"),
    "TaskFailed": {
        "task": "resize", "job_id": "j1", "reason": "failed", "remote_type": "ValueError", "remote_message": "no",
    },
    "ResultTimeout": ("resize", "j1", 60.0),
    "JobCancelled": ("resize", "j1"),
    "JobExpired": ("resize", "j1"),
    "EnqueueManyFailed": ([], [], "the iterable failed"),
}  # fmt: skip


def make(kind: type[TaskqError]) -> TaskqError:
    given = ARGUMENTS.get(kind.__name__, ("what went wrong",))
    return kind(**given) if isinstance(given, dict) else kind(*given)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_survives_pickling_with_its_text_and_fields(kind: type[TaskqError]) -> None:
    error = make(kind)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_stands_in_the_tree_of_the_docstring(kind: type[TaskqError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("control", [Retry("busy", after=5), Retry(), Reject("gone"), Snooze(5)], ids=repr)
def test_control_exceptions_survive_pickling(control: Exception) -> None:
    again = pickle.loads(pickle.dumps(control))
    assert (type(again), str(again), vars(again)) == (type(control), str(control), vars(control))
    assert not isinstance(control, TaskqError)


def test_control_exceptions_check_their_durations() -> None:
    assert Retry(after=0).after_s == 0
    assert Retry().after_s is None
    assert str(Snooze(90)) == "snoozed for 90 s"
    for make_it in (lambda: Retry(after=-1), lambda: Snooze(-1)):
        with pytest.raises(errors.DeclarationError, match="out of range"):
            make_it()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (make(InvalidArguments), "resize: width: is required; too many"),
        (make(UnknownTask), "no task 'resize' in this worker (known: a, b); deploy the module that declares it"),
        (UnknownTask("resize"), "(known: none)"),
        (make(Unroutable), "start a worker that declares it"),
        (make(QueueMismatch), "x-delivery-limit: declared 20, the broker has 5"),
        (make(MessageTooLarge), "2,000,000 bytes, above the limit of 1,048,576"),
        (make(PublishUnconfirmed), "it may have been enqueued all the same"),
        (make(TaskFailed), "resize (failed): ValueError: no [job j1]"),
        (make(ResultTimeout), "is a worker consuming its queue?"),
        (EnqueueManyFailed([], [(Any, ValueError("no"))]), "0 jobs enqueued, 1 not; first: no"),
    ],
)
def test_text_says_what_happened_and_what_to_do(error: TaskqError, text: str) -> None:
    assert text in str(error)


def test_result_timeout_is_a_timeout_error() -> None:
    assert isinstance(make(ResultTimeout), TimeoutError)
