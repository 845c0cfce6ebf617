"""What a process that a task forks must not inherit: our handling of signals, and the end of our loop's wake-up pipe.

``multiprocessing`` forks, up to Python 3.13. A child that handled SIGTERM as we do would not end by it, and would wake
*our* event loop instead, which then stops the worker. Signals that come while it is forked wait until it handles them
by itself.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable
from functools import cache

_handled: set[signal.Signals] = set()
_forking = threading.local()


def let_go_in_forks(numbers: Iterable[signal.Signals]) -> None:
    """Give signals that this process handles their default in every process that is forked from it from now on."""
    _handled.update(numbers)
    _register()


def keep_in_forks(numbers: Iterable[signal.Signals]) -> None:
    """Take it back: they are not handled any more."""
    _handled.difference_update(numbers)


@cache
def _register() -> None:
    if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
        os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_let_go)


def _hold() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _handled)


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _let_go() -> None:
    if _handled:
        signal.set_wakeup_fd(-1)
    for number in _handled:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
    _handled.clear()
    _release()
