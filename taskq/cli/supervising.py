"""``taskq worker --processes N``: the parent, which runs no job itself."""

from __future__ import annotations

import sys
from random import Random

from taskq.cli.banner import show_banner
from taskq.cli.complaint import Complaint
from taskq.cli.loading import App
from taskq.cli.orders import Orders
from taskq.cli.working import new_worker, taking_signals
from taskq.clock import SystemClock
from taskq.worker.supervisor import Supervisor, SupervisorOptions


async def supervise(app: App, orders: Orders, processes: int) -> int:
    """Keep ``processes`` workers running; return the exit status when all have ended for good.

    The app is opened once before, so that what is wrong with it, its queues or its broker is said once, by the parent.
    """
    settings = app.settings()
    if settings.url.startswith("memory:"):
        raise Complaint("memory:// lives inside one process; use sqlite:///taskq.db, or leave --processes out")
    options = SupervisorOptions(
        command=_command(orders),
        processes=processes,
        grace_s=settings.grace if orders.grace_s is None else orders.grace_s,
        burst=orders.burst,
    )
    supervisor = Supervisor(options, clock=SystemClock(), emitter=app.emitter, rng=Random())
    async with app:
        slots = new_worker(app, orders).slots
        show_banner(app, slots, orders, processes=processes)
    with taking_signals(supervisor.stop):
        status = await supervisor.run()
        await app.emitter.drain()
    return status


def _command(orders: Orders) -> list[str]:
    """Return the command line of a child: the same, without ``--processes``."""
    words = [sys.executable, "-m", "taskq", "worker", orders.reference, "--supervised"]
    for name, concurrency in (orders.queues or {}).items():
        words.append(f"--queue={name}" if concurrency is None else f"--queue={name}={concurrency}")
    options = {
        "--concurrency": orders.concurrency,
        "--grace": orders.grace_s,
        "--max-jobs": orders.max_jobs,
        "--log-format": orders.log_format,
        "--log-level": orders.log_level,
        "--app-dir": orders.app_dir,
    }
    for name, value in options.items():
        words += [] if value is None else [f"{name}={value}"]
    return [*words, "--burst"] if orders.burst else words
