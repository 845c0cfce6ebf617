"""Running a command's coroutine: the fastest event loop there is, and logging as the app's settings say."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, TypeVar

from taskq.app import TaskQ
from taskq.cli.loading import App
from taskq.observability import logs
from taskq.settings import LogFormat, Settings

T = TypeVar("T")

_NEW_OBJECTS = 20_000  # before cycles among them are collected; Python's own 700 are there after a few dozen jobs


class LogLevel(StrEnum):
    """The least level that is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` on uvloop where it exists, else on asyncio's own loop."""
    with _collecting(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


@contextmanager
def _collecting() -> Generator[None]:
    """Begin to collect cycles, where the command line has put that off, without what was loaded until now: it stays."""
    if gc.isenabled():
        yield
        return
    gc.freeze()
    usual = gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS, *usual[1:])
    gc.enable()
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()  # at the end of the process all of it may go


def log_quietly(settings: Settings) -> None:
    """Log warnings and worse: for commands whose output is what they print."""
    quiet = max(logging.WARNING, logging.getLevelNamesMapping()[settings.log_level])
    logs.configure(settings.log_format, logging.getLevelName(quiet))


def log_fully(settings: Settings, format: LogFormat | None, level: LogLevel | None) -> None:
    """Log as a worker does; the command line goes before the settings."""
    logs.configure(format or settings.log_format, level or settings.log_level)


def onlooker(app: App, *, connect_timeout: float | None = None) -> App:
    """Return an app on the same broker that declares nothing, so that looking at it changes nothing.

    ``connect_timeout``: seconds; without it, as long as the app itself.
    """
    settings = app.settings()
    return TaskQ(
        app.name,
        url=settings.url,
        management_url=settings.management_url,
        connect_timeout=settings.connect_timeout if connect_timeout is None else connect_timeout,
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  # optional, and not needed for most of what a command does
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop
