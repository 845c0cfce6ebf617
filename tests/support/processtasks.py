"""Functions that tests run in processes of their own: they can be imported there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taskq import Reject, Retry, Router, Snooze

router = Router()


class Unpicklable(Exception):
    """It calls itself with other arguments than it keeps, as many exceptions do."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@router.task(run="process")
def where() -> int:
    return os.getpid()


@router.task(run="process")
def add(a: int, b: int = 10) -> int:
    return a + b


@router.task(run="process")
def fail(kind: str) -> None:
    if kind == "noted":
        error = ValueError("no")
        error.add_note("while reading line 7")
        raise error
    if kind == "unpicklable":
        raise Unpicklable(7, "seven")
    if kind == "exit":
        sys.exit(3)
    raise {"retry": Retry("busy", after=7), "snooze": Snooze(9), "reject": Reject("never")}[kind]


@router.task(run="process")
def no_pickle() -> Any:
    function: Callable[[], int] = lambda: 1  # noqa: E731
    return function


@router.task(run="process")
def die(how: str) -> None:
    if how == "exit":
        os._exit(7)
    os.kill(os.getpid(), getattr(signal, how))
    time.sleep(60)


@router.task(run="process")
def hang(begun: str) -> None:
    Path(begun).write_text(str(os.getpid()))
    while True:
        time.sleep(60)


@router.task(run="process")
def survive_signals() -> str:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    return "still here"


@router.task(run="process")
def end_children() -> tuple[int, int | None]:
    """Return how a program and a fork end that are told to, by SIGTERM."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    program.terminate()
    fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    fork.start()
    fork.terminate()
    fork.join(30)
    return program.wait(30), fork.exitcode


@router.task(run="process")
def die_with_a_fork_left(left: str) -> None:
    """Die while a process that was forked here lives on, and holds what this one had open."""
    fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    fork.start()
    Path(left).write_text(str(fork.pid))
    os.kill(os.getpid(), signal.SIGKILL)
