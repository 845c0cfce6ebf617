"""What the command `taskq` says against a command line, up to the point where it would begin its work."""

from __future__ import annotations

import io
import logging
import pkgutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import pytest

import taskq.cli
from taskq.cli import main

ROOT = Path(__file__).parents[2]
_MODULES = [each.name for each in pkgutil.iter_modules(taskq.cli.__path__)]


class _Begins(BaseException):
    """The command line was understood, the app loaded, its settings read."""


def refusal(words: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Return the complaint about the words behind `taskq`, typed in the root of the checkout; `None` if it is right.

    The real command line reads them, loads the app and looks for the task. What reaches a broker does not begin.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(sys, "path", sys.path.copy())
        for name in ("TASKQ_APP", "TASKQ_URL"):
            patch.delenv(name, raising=False)
        for name, value in environment.items():
            if name.startswith("TASKQ_"):
                patch.setenv(name, str(value))
        for module in map(import_module, (f"taskq.cli.{name}" for name in _MODULES)):
            for name in {"run", "run_worker", "log_quietly", "log_fully"} & vars(module).keys():
                patch.setattr(module, name, _begin if name.startswith("run") else _log_nothing)
        return _typed(words)


def _typed(words: Sequence[str]) -> str | None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    said = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(said):
            status = main(words)
    except _Begins:
        return None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return None if status == 0 else said.getvalue() or f"status {status}"


def _begin(work: object, *_: object) -> None:
    close = getattr(work, "close", None)
    if close is not None:
        close()  # a coroutine that nobody awaits would warn
    raise _Begins


def _log_nothing(*_: object) -> None:
    logging.getLogger("taskq").debug("logging is left as it is")
