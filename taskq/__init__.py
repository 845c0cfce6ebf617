"""taskq: an asyncio task queue for Python. Start with a file, grow into a cluster.

Neighbours: ``taskq.testing`` (the testing kit), ``taskq.lifecycle`` (events for ``@app.on``), ``taskq.errors`` (the
error tree).
"""

from taskq.app import TaskQ
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
    "PublishUnconfirmed",
    "Queue",
    "QueueMismatch",
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
    "__version__",
]
