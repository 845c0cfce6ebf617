"""taskq: an asyncio task queue for Python. Start with a file, grow into a cluster.

A name is imported from its module when it is first used, so that a program pays for what it needs: ``taskq --help``
needs next to nothing. Type checkers read the imports below, and a test holds :data:`_HOMES` to them.

Neighbours: ``taskq.testing`` (the testing kit), ``taskq.lifecycle`` (events for ``@app.on``), ``taskq.errors`` (the
error tree).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.broker.protocol import QueueState
    from taskq.errors import (
        AccessRefused,
        BrokerBlocked,
        BrokerError,
        BrokerUnreachable,
        DeclarationError,
        EnqueueManyFailed,
        ExchangeMismatch,
        InvalidArguments,
        JobCancelled,
        JobExpired,
        MessageTooLarge,
        PublishUnconfirmed,
        QueueMismatch,
        ResultTimeout,
        TaskFailed,
        TaskqError,
        UndecodableMessage,
        UnknownTask,
        Unroutable,
        UsageError,
        WireError,
    )
    from taskq.inspection.dead import DeadLetters
    from taskq.tasks.call import BoundCall
    from taskq.tasks.context import Context
    from taskq.tasks.control import Reject, Retry, Snooze
    from taskq.tasks.duration import Duration
    from taskq.tasks.event import Event
    from taskq.tasks.exchange import Exchange
    from taskq.tasks.job import Job, ResultJob
    from taskq.tasks.options import CallOptions
    from taskq.tasks.queues import Queue
    from taskq.tasks.retry import Backoff, Exponential, Fixed, Linear, RetryPolicy
    from taskq.tasks.router import Router
    from taskq.tasks.task import AsyncTask, RemoteTask, SyncTask, Task
    from taskq.wire.dead import DeadLetter, DeadReason
    from taskq.worker.execute import Middleware
    from taskq.worker.worker import Worker, WorkerReport

__version__ = "0.1.0"

__all__ = [
    "AccessRefused",
    "AsyncTask",
    "Backoff",
    "BoundCall",
    "BrokerBlocked",
    "BrokerError",
    "BrokerUnreachable",
    "CallOptions",
    "Context",
    "DeadLetter",
    "DeadLetters",
    "DeadReason",
    "DeclarationError",
    "Duration",
    "EnqueueManyFailed",
    "Event",
    "Exchange",
    "ExchangeMismatch",
    "Exponential",
    "Fixed",
    "InvalidArguments",
    "Job",
    "JobCancelled",
    "JobExpired",
    "Linear",
    "MessageTooLarge",
    "Middleware",
    "PublishUnconfirmed",
    "Queue",
    "QueueMismatch",
    "QueueState",
    "Reject",
    "RemoteTask",
    "ResultJob",
    "ResultTimeout",
    "Retry",
    "RetryPolicy",
    "Router",
    "Snooze",
    "SyncTask",
    "Task",
    "TaskFailed",
    "TaskQ",
    "TaskqError",
    "UndecodableMessage",
    "UnknownTask",
    "Unroutable",
    "UsageError",
    "WireError",
    "Worker",
    "WorkerReport",
    "__version__",
]

_HOMES = {
    "TaskQ": "taskq.app",
    "QueueState": "taskq.broker.protocol",
    "AccessRefused": "taskq.errors",
    "BrokerBlocked": "taskq.errors",
    "BrokerError": "taskq.errors",
    "BrokerUnreachable": "taskq.errors",
    "DeclarationError": "taskq.errors",
    "EnqueueManyFailed": "taskq.errors",
    "ExchangeMismatch": "taskq.errors",
    "InvalidArguments": "taskq.errors",
    "JobCancelled": "taskq.errors",
    "JobExpired": "taskq.errors",
    "MessageTooLarge": "taskq.errors",
    "PublishUnconfirmed": "taskq.errors",
    "QueueMismatch": "taskq.errors",
    "ResultTimeout": "taskq.errors",
    "TaskFailed": "taskq.errors",
    "TaskqError": "taskq.errors",
    "UndecodableMessage": "taskq.errors",
    "UnknownTask": "taskq.errors",
    "Unroutable": "taskq.errors",
    "UsageError": "taskq.errors",
    "WireError": "taskq.errors",
    "DeadLetters": "taskq.inspection.dead",
    "BoundCall": "taskq.tasks.call",
    "Context": "taskq.tasks.context",
    "Reject": "taskq.tasks.control",
    "Retry": "taskq.tasks.control",
    "Snooze": "taskq.tasks.control",
    "Duration": "taskq.tasks.duration",
    "Event": "taskq.tasks.event",
    "Exchange": "taskq.tasks.exchange",
    "Job": "taskq.tasks.job",
    "ResultJob": "taskq.tasks.job",
    "CallOptions": "taskq.tasks.options",
    "Queue": "taskq.tasks.queues",
    "Backoff": "taskq.tasks.retry",
    "Exponential": "taskq.tasks.retry",
    "Fixed": "taskq.tasks.retry",
    "Linear": "taskq.tasks.retry",
    "RetryPolicy": "taskq.tasks.retry",
    "Router": "taskq.tasks.router",
    "AsyncTask": "taskq.tasks.task",
    "RemoteTask": "taskq.tasks.task",
    "SyncTask": "taskq.tasks.task",
    "Task": "taskq.tasks.task",
    "DeadLetter": "taskq.wire.dead",
    "DeadReason": "taskq.wire.dead",
    "Middleware": "taskq.worker.execute",
    "Worker": "taskq.worker.worker",
    "WorkerReport": "taskq.worker.worker",
}
_NEIGHBOURS = frozenset({"app", "errors", "lifecycle", "settings"})


def __getattr__(name: str) -> object:
    if name in _NEIGHBOURS:
        return import_module(f"taskq.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'taskq' has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
