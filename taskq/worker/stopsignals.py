"""SIGTERM and SIGINT: the first begins a worker's shutdown, the second cuts its grace time short."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager

from taskq.worker.forks import keep_in_forks, let_go_in_forks

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_on_signals(stop: Callable[[str], None]) -> Generator[None]:
    """Call ``stop`` with the signal's name, on the running event loop, for each signal until the end of the block."""
    loop = asyncio.get_running_loop()
    try:
        for number in _SIGNALS:
            loop.add_signal_handler(number, stop, number.name)
    except NotImplementedError:  # Windows' event loop
        with _plain_handlers(loop, stop):
            yield
        return
    let_go_in_forks(_SIGNALS)
    try:
        yield
    finally:
        keep_in_forks(_SIGNALS)
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


@contextmanager
def _plain_handlers(loop: asyncio.AbstractEventLoop, stop: Callable[[str], None]) -> Generator[None]:
    def handler(number: int, _: object) -> None:
        loop.call_soon_threadsafe(stop, signal.Signals(number).name)

    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
