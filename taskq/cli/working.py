"""One worker process of ``taskq worker``: from the loaded app to its exit status."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from taskq.cli.banner import show_banner
from taskq.cli.complaint import say
from taskq.cli.fault import show_traceback
from taskq.cli.loading import App
from taskq.cli.orders import Orders
from taskq.cli.session import run
from taskq.cli.status import Status
from taskq.errors import BrokerError
from taskq.worker.stopsignals import stop_on_signals
from taskq.worker.worker import Worker, WorkerReport

_EXIT_S = 5.0  # how long threads of the loop's own pool (`asyncio.to_thread`) may hold the exit


def run_worker(app: App, orders: Orders) -> Status:
    """Run a worker on an event loop of its own. What holds the end of that loop too long is left behind."""
    ended = threading.Event()
    try:
        return run(_work(app, orders, ended))
    finally:
        ended.set()


async def _work(app: App, orders: Orders, ended: threading.Event) -> Status:
    """Run a worker to its end. It ends the whole process when threads are left behind that would hold its exit."""
    switch = _Switch()
    with taking_signals(switch.stop), _watching_supervisor(switch, orders.supervised):
        try:
            async with app:
                switch.worker = new_worker(app, orders)
                if not orders.supervised:
                    show_banner(app, switch.worker.slots, orders)
                await _run(switch)
        except asyncio.CancelledError:
            if not switch.turned:
                raise
    report = switch.report
    died = orders.burst and report is not None and report.dead > 0
    status = Status.FAILED if switch.failed or died else Status.OK
    if report is not None and report.left_behind:
        _leave_at_once(status)
    threading.Thread(target=_leave_in_time, args=(status, ended), name="taskq-exit", daemon=True).start()
    return status


def new_worker(app: App, orders: Orders) -> Worker:
    """Return the worker of the open app that ``orders`` describe. Raises :class:`UsageError`."""
    return app.worker(
        queues=orders.queues,
        concurrency=orders.concurrency,
        grace=orders.grace_s,
        burst=orders.burst,
        max_jobs=orders.max_jobs,
    )


@contextmanager
def taking_signals(stop: Callable[[str], None]) -> Generator[None]:
    """Call ``stop`` for SIGTERM and SIGINT; after the block they do nothing, since the process is about to end."""
    try:
        with stop_on_signals(stop):
            yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)


class _Switch:
    """Stops whatever there is to stop: the worker; before it consumes, the start; after it ended, at the second time,
    what still holds the exit."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.report: WorkerReport | None = None
        self.failed = False
        self.turned = 0
        self._task = asyncio.current_task()

    def stop(self, reason: str) -> None:
        self.turned += 1
        started = self.worker is not None and self.worker.started.is_set()
        ended = self.report is not None or self.failed
        if self.worker is not None and started and not ended:
            self.worker.stop(reason)
        elif self._task is not None and (not started or self.turned > 1):
            self._task.cancel()


@contextmanager
def _watching_supervisor(switch: _Switch, supervised: bool) -> Generator[None]:
    """Stop when standard input ends: the supervisor holds its other end, so it is gone then, however it went."""
    if not supervised:
        yield
        return
    loop, pipe = asyncio.get_running_loop(), sys.stdin.fileno()

    def on_readable() -> None:
        if not os.read(pipe, 4096):
            loop.remove_reader(pipe)
            switch.stop("the supervisor is gone")

    loop.add_reader(pipe, on_readable)
    try:
        yield
    finally:
        loop.remove_reader(pipe)


async def _run(switch: _Switch) -> None:
    """Run the worker. When the user's lifespan raises, show its traceback."""
    assert switch.worker is not None
    try:
        switch.report = await switch.worker.run()
    except BrokerError:
        raise
    except Exception as error:
        switch.failed = True
        show_traceback(error)


def _leave_in_time(status: Status, ended: threading.Event) -> None:
    """End the process when its loop does not end: it waits for the threads of its pool, however long they run."""
    if ended.wait(_EXIT_S):
        return
    names = ", ".join(each.name for each in threading.enumerate() if not each.daemon and each.name != "MainThread")
    what = f"threads that do not end ({names})" if names else "coroutines that swallow their cancellation"
    say(f"the exit was held for {_EXIT_S:g} s by {what}; they are left behind")
    _leave_at_once(status)


def _leave_at_once(status: Status) -> None:
    """End the process without waiting for threads and coroutines that do not end."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
