"""What runs inside a process that executes ``run="process"`` tasks: one job at a time, over a pipe.

It ignores the signals of its process group: whether its job may end is the worker's decision, and the worker ends it by
closing the pipe or by SIGKILL. When the worker itself is killed, it ends too: its job is somebody else's by then.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import threading
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from taskq.tasks.arguments import Arguments
from taskq.tasks.task import Task
from taskq.wire.failure import describe
from taskq.worker.forks import let_go_in_forks

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

IGNORED = {signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)}
HAS_MASKS = hasattr(signal, "pthread_sigmask")  # not on Windows


@dataclass(frozen=True, slots=True)
class Order:
    """A function, by the name under which it can be imported, and its :class:`Arguments`, pickled apart: what cannot
    be read here is an error of the job, not of this process.
    """

    module: str
    qualname: str
    arguments: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an order: a value, or an error with its traceback as text. Both are pickled apart."""

    value: bytes | None
    error: bytes | None
    traceback: str = ""


class ProcessTaskError(Exception):
    """Stands for an error of a process task that cannot itself be carried to the worker; the text names it."""


def serve(pipe: Connection) -> None:
    """Run orders until the pipe ends."""
    for number in IGNORED:
        signal.signal(number, _ignore)  # `SIG_IGN` would be inherited by every program that the task starts
    let_go_in_forks(IGNORED)
    if HAS_MASKS:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)
    threading.Thread(target=_end_with_worker, name="taskq-worker-watch", daemon=True).start()
    while True:
        try:
            order = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        answer = pickle.dumps(_answer(pickle.loads(order)))
        try:
            pipe.send_bytes(answer)
        except OSError:  # the worker is gone
            return


def _ignore(number: int, frame: object) -> None:
    """Do nothing."""


def _end_with_worker() -> None:
    from multiprocessing import parent_process  # noqa: PLC0415  # is there, since it has started this process

    worker = parent_process()
    if worker is not None:
        worker.join()
        os._exit(1)


def _answer(order: Order) -> Answer:
    try:
        function = _find(order)
        arguments: Arguments = pickle.loads(order.arguments)
        value = function(*arguments.args, **arguments.kwargs)
        return Answer(pickle.dumps(value), None)
    except BaseException as error:
        text = describe(error)
        return Answer(None, _pickled(error), text.traceback)


def _find(order: Order) -> Any:
    found = attrgetter(order.qualname)(importlib.import_module(order.module))
    return found.definition.function if isinstance(found, Task) else found


def _pickled(error: BaseException) -> bytes:
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)
    except Exception:
        return pickle.dumps(ProcessTaskError(describe(error).short))
    return pickled
