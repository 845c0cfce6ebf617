"""Every error that taskq raises, in one tree, split by whose fault it is.

::

    TaskqError
    ├── UsageError              the program: wrong use of the library
    │   ├── DeclarationError    a task, router, queue or option that cannot be declared like this
    │   └── InvalidArguments    arguments that do not fit the task's signature
    ├── WireError               a message: what arrived cannot be read
    │   ├── UndecodableMessage  not JSON, broken headers, a newer wire version
    │   └── UnknownTask         a task that this program does not know
    ├── BrokerError             the broker, or the way to it
    │   ├── BrokerUnreachable   it cannot be reached or opened
    │   ├── BrokerBlocked       it is there, but takes nothing now (alarm, full disk, locked file)
    │   ├── AccessRefused       wrong password, missing permission, read-only file
    │   ├── Unroutable          no queue takes the message
    │   ├── QueueMismatch       a queue exists with other arguments
    │   ├── ExchangeMismatch    an exchange exists as another kind, or with other arguments
    │   ├── MessageTooLarge     above the largest message; nothing was sent
    │   └── PublishUnconfirmed  no confirmation in time; the job may have been enqueued
    ├── TaskFailed              the task: it ended as a dead letter; seen by the caller
    ├── ResultTimeout           no result in time (also a TimeoutError); the job may still run
    ├── JobCancelled            the job was cancelled
    ├── JobExpired              the job's time to start was over
    └── EnqueueManyFailed       some jobs of an enqueue_many were not enqueued

Each carries its data as fields, and its text says what to do next. ``Retry``, ``Reject`` and ``Snooze``,
which a task raises on purpose, are no errors; they live in :mod:`taskq.tasks.control`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskq.tasks.call import BoundCall
    from taskq.tasks.job import Job


class TaskqError(Exception):
    """The root of all errors that taskq raises. They can be pickled, as a process pool does."""

    def __reduce__(self) -> tuple[object, ...]:
        # Not by calling the class again with `args`, as exceptions do by default: `args` is the text.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[TaskqError], args: tuple[object, ...], fields: dict[str, object]) -> TaskqError:
    error = kind.__new__(kind)
    BaseException.__init__(error, *args)
    error.__dict__.update(fields)
    return error


class UsageError(TaskqError):
    """The program uses taskq in a way that cannot work; the text says what to change."""


class DeclarationError(UsageError):
    """A task, router, queue or option that cannot be declared like this."""


class InvalidArguments(UsageError):
    """Arguments that do not fit the task's signature. Nothing was sent.

    ``problems`` holds one ``(place, text)`` for each argument at fault.
    """

    def __init__(self, task: str, problems: Sequence[tuple[str, str]]) -> None:
        self.task = task
        self.problems = tuple(problems)
        listed = "; ".join(f"{place}: {text}" if place else text for place, text in self.problems)
        super().__init__(f"{task}: {listed}")


class WireError(TaskqError):
    """A message that cannot be read. A worker dead-letters it with this text as the reason."""


class UndecodableMessage(WireError):
    """The message is not what the wire format says: no JSON, broken headers, or a newer version."""


class UnknownTask(WireError):
    """The message names a task that this program does not know."""

    def __init__(self, task: str, known: Sequence[str] = ()) -> None:
        self.task = task
        self.known = tuple(known)
        names = ", ".join(self.known) if self.known else "none"
        super().__init__(f"no task {task!r} in this worker (known: {names}); deploy the module that declares it")


class BrokerError(TaskqError):
    """The broker, or the way to it, is at fault."""


class BrokerUnreachable(BrokerError):
    """The broker cannot be reached or its file cannot be opened."""


class BrokerBlocked(BrokerError):
    """The broker is there but takes nothing at the moment: an alarm, a full disk, a locked file."""


class AccessRefused(BrokerError):
    """The broker refuses this user: password, permission, virtual host, or a read-only file."""


class Unroutable(BrokerError):
    """No queue takes the message, which was not stored; or there is no queue of the name that is asked for.

    With an ``exchange``, ``queue`` is the routing key that it passes to no queue.
    """

    def __init__(self, queue: str, exchange: str = "") -> None:
        self.queue = queue
        self.exchange = exchange
        if exchange:
            text = (
                f"exchange {exchange!r} passes the key {queue!r} to no queue, so the message was not stored; start who "
                "subscribes to it, or publish it as not mandatory"
            )
        else:
            text = f"queue {queue!r} does not exist; start a worker that declares it, or declare it in this program"
        super().__init__(text)


class QueueMismatch(BrokerError):
    """A queue exists with other arguments than the program declares.

    ``differences`` maps each argument to ``(declared here, present in the broker)``.
    """

    def __init__(self, queue: str, differences: Mapping[str, tuple[object, object]]) -> None:
        self.queue = queue
        self.differences = dict(differences)
        listed = "; ".join(
            f"{name}: declared {mine!r}, the broker has {theirs!r}" for name, (mine, theirs) in self.differences.items()
        )
        super().__init__(
            f"queue {queue!r} exists with other arguments ({listed}); declare it as it is, give the queue "
            "another name, or drain and delete it"
        )


class ExchangeMismatch(BrokerError):
    """An exchange exists as another kind or with other arguments than the program declares.

    ``differences`` maps each argument to ``(declared here, present in the broker)``; RabbitMQ names one at a time.
    """

    def __init__(self, exchange: str, differences: Mapping[str, tuple[object, object]]) -> None:
        self.exchange = exchange
        self.differences = dict(differences)
        listed = "; ".join(
            f"{name}: declared {mine!r}, the broker has {theirs!r}" for name, (mine, theirs) in self.differences.items()
        )
        super().__init__(
            f"exchange {exchange!r} exists otherwise ({listed}); declare it as it is, give it another name, or delete "
            "the one that is there"
        )


class MessageTooLarge(BrokerError):
    """The message is above the largest size; nothing was sent. Sizes are bytes. A ``fixed`` limit is no setting."""

    def __init__(self, what: str, size: int, limit: int, *, fixed: bool = False) -> None:
        self.size = size
        self.limit = limit
        super().__init__(
            f"{what} has {size:,} bytes, above the limit of {limit:,}; send a reference (a path, a key) instead"
            + ("" if fixed else ", or raise TASKQ_MAX_MESSAGE_BYTES on every side")
        )


class PublishUnconfirmed(BrokerError):
    """The broker did not confirm within the publish deadline: the job **may** have been enqueued.

    ``job_id`` is the id that it has if so; enqueue it again under the same ``job_id`` if the task is idempotent. For an
    event it is the event's id; who publishes it again sends another event. ``reason``: what is known to be wrong with
    the broker, else empty.
    """

    def __init__(self, what: str, timeout_s: float, job_id: str | None = None, reason: str = "") -> None:
        self.timeout_s = timeout_s
        self.job_id = job_id
        self.reason = reason
        why = f" ({reason})" if reason else ""
        super().__init__(
            f"{what}: the broker did not confirm within {timeout_s:g} s{why}; it may have been enqueued all the "
            "same. Check the broker; a repetition may run it twice"
        )


class TaskFailed(TaskqError):
    """The job ended as a dead letter. Raised to the caller that waits for its result.

    ``remote_type``, ``remote_message`` and ``remote_traceback`` (text, may be cut) describe the last error.
    ``reason`` is the dead letter's reason, as in ``taskq dead list``.
    """

    def __init__(
        self,
        *,
        task: str,
        job_id: str,
        reason: str,
        remote_type: str,
        remote_message: str,
        remote_traceback: str = "",
    ) -> None:
        self.task = task
        self.job_id = job_id
        self.reason = reason
        self.remote_type = remote_type
        self.remote_message = remote_message
        self.remote_traceback = remote_traceback
        super().__init__(f"{task} ({reason}): {remote_type}: {remote_message} [job {job_id}]")


class ResultTimeout(TaskqError, TimeoutError):
    """No result came in time. The job is not cancelled by this and may still run."""

    def __init__(self, task: str, job_id: str, timeout_s: float) -> None:
        self.task = task
        self.job_id = job_id
        self.timeout_s = timeout_s
        super().__init__(
            f"{task}: no result within {timeout_s:g} s [job {job_id}]; is a worker consuming its queue? "
            "The job may still run"
        )


class JobCancelled(TaskqError):
    """The job was cancelled before it ended."""

    def __init__(self, task: str, job_id: str) -> None:
        self.task = task
        self.job_id = job_id
        super().__init__(f"{task} was cancelled [job {job_id}]")


class JobExpired(TaskqError):
    """No worker could start the job before its expiry; it was not run."""

    def __init__(self, task: str, job_id: str) -> None:
        self.task = task
        self.job_id = job_id
        super().__init__(f"{task} expired before a worker could run it [job {job_id}]; add workers or raise `expires`")


class EnqueueManyFailed(TaskqError):
    """Some calls of an ``enqueue_many`` were not enqueued.

    ``confirmed`` are the jobs that were, in order; ``failed`` pairs each call that was not with its error.
    Calls that the iterable had not yielded by then were not looked at.
    """

    def __init__(
        self, confirmed: Sequence[Job], failed: Sequence[tuple[BoundCall[object], Exception]], why: str = ""
    ) -> None:
        self.confirmed = list(confirmed)
        self.failed = list(failed)
        first = why or (f"first: {self.failed[0][1]}" if self.failed else "the iterable failed")
        super().__init__(f"{len(self.confirmed)} jobs enqueued, {len(self.failed)} not; {first}")
