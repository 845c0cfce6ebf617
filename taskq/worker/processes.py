"""Sync functions in processes of their own, which can be ended when their time is over.

A process runs one job at a time and is kept for the next. A job that is cut (time limit, shutdown) or that kills its
process costs that process only; a new one is started when it is needed.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

from taskq.tasks.arguments import Arguments
from taskq.tasks.definition import Handler
from taskq.worker.child import HAS_MASKS, IGNORED, Answer, Order, serve
from taskq.worker.threads import start_thread

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    _Child = tuple[BaseProcess, Connection]


_LOOK_S = 1.0  # how often to look whether a process that says nothing is still there


class ProcessDied(Exception):
    """The process that ran a task ended before the task did."""


class Processes:
    """The processes of one worker. They are started as they are needed; :meth:`close` ends all of them."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._all: set[BaseProcess] = set()
        self._closed = False

    async def run(self, definition: Handler, arguments: Arguments) -> Any:
        """Run a task's function and return its value, or raise its error. A cancelled wait kills the process."""
        function = definition.function
        order = pickle.dumps(Order(function.__module__, function.__qualname__, pickle.dumps(arguments)))
        child = self._take() or await self._started()
        process, pipe = child
        exchange = start_thread(partial(_exchange, process, pipe, order), definition.name)
        try:
            answer = await asyncio.shield(exchange)
        except (EOFError, OSError):
            status = await self._reap(process)
            raise ProcessDied(f"the process of {definition.name} ended by itself ({_ending(status)})") from None
        except BaseException:
            self._reap(process)  # the pipe is left to its reader, which sees the end of it
            raise
        self._idle.append(child)
        return _opened(answer)

    def close(self) -> None:
        """End every process, whatever it does, and those that are being started. Twice is harmless."""
        self._closed = True
        self._idle.clear()
        for process in list(self._all):
            process.kill()
            process.join()
        self._all.clear()

    def _take(self) -> _Child | None:
        """Return an idle process that is still alive."""
        while self._idle:
            process, pipe = self._idle.pop()
            if process.is_alive():
                return process, pipe
            self._reap(process)
        return None

    async def _started(self) -> _Child:
        """Start a process. When the wait is cancelled, the process is kept for the next job."""
        starting = start_thread(self._start, "spawn")
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._keep)
            raise

    def _keep(self, starting: asyncio.Future[_Child]) -> None:
        if not starting.cancelled() and starting.exception() is None:
            self._idle.append(starting.result())

    def _start(self) -> _Child:
        """Start a process; called on a thread of its own.

        The signals that the child is to ignore are blocked on this thread, and so in the child from its first
        instruction on. Python's resource tracker, which lives beside the children, must be there before: its start
        would unblock them.
        """
        from multiprocessing import get_context, resource_tracker  # noqa: PLC0415  # most workers need no process

        if HAS_MASKS:
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
        spawn = get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=serve, args=(theirs,), name="taskq-task")
        process.start()
        theirs.close()
        self._all.add(process)
        if self._closed:  # meanwhile, on the loop's thread, which may not have seen it
            process.kill()
        return process, ours

    def _reap(self, process: BaseProcess) -> asyncio.Future[int | None]:
        """Kill a process; the future tells how it ended."""
        process.kill()

        def join() -> int | None:
            process.join()
            self._all.discard(process)
            return process.exitcode

        return start_thread(join, "reap")


def _exchange(process: BaseProcess, pipe: Connection, order: bytes) -> Answer:
    pipe.send_bytes(order)
    while not pipe.poll(_LOOK_S):
        if not process.is_alive() and not pipe.poll():
            raise EOFError  # what the task has forked may hold the other end open
    answer: Answer = pickle.loads(pipe.recv_bytes())
    return answer


def _opened(answer: Answer) -> Any:
    if answer.error is not None:
        error: BaseException = pickle.loads(answer.error)
        error.add_note(f"in the task's process:\n{answer.traceback}")
        raise error
    return pickle.loads(answer.value or b"")


def _ending(status: int | None) -> str:
    """Say how a process ended: by a signal, which has a negative number, or with a status."""
    if status is None or status >= 0:
        return f"status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
