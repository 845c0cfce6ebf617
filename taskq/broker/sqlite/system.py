"""What the embedded broker has of the operating system: a thread, the processes that live, wake-ups, the file.

It is a value that is passed, as the clock is, so that the simulation of the tests can run many processes in one thread,
in virtual time, and let each of these fail when it likes.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass

from taskq.broker.sqlite.database import open_database
from taskq.broker.sqlite.engine import Engine
from taskq.broker.sqlite.location import Location
from taskq.broker.sqlite.process import Process, this_process
from taskq.broker.sqlite.wakeups import Wakeups, WakeupSocket


def start_thread(engine: Engine) -> None:
    """Drive ``engine`` in a thread of its own, to the end of its life."""
    name = f"taskq {engine.location.label}"
    threading.Thread(target=_drive, args=(engine,), name=name, daemon=True).start()


def _drive(engine: Engine) -> None:
    for rest in engine.life():
        with engine.changed:
            engine.changed.wait_for(rest.over, rest.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """``start`` drives an engine from now on, and returns at once. ``is_gone`` says of a process of the same boot and
    namespace whether it has ended. ``open_database`` opens a place within so many seconds.
    """

    start: Callable[[Engine], None] = start_thread
    this_process: Callable[[], Process] = this_process
    is_gone: Callable[[Process], bool] = Process.is_gone
    wakeups: Callable[[], Wakeups] = WakeupSocket
    open_database: Callable[[Location, float], sqlite3.Connection] = open_database


OPERATING_SYSTEM = System()
