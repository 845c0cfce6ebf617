"""Calls from the engine's thread to event loops: many in one hand-over; one that raises does not stop the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Call = tuple[asyncio.AbstractEventLoop, Callable[[], None]]


def call_on(loop: asyncio.AbstractEventLoop, calls: list[Callable[[], None]]) -> None:
    """Run ``calls`` on ``loop``, in order. On a loop that is closed nobody is left who waits."""
    try:
        loop.call_soon_threadsafe(_call_all, loop, calls)
    except RuntimeError:
        pass


def _call_all(loop: asyncio.AbstractEventLoop, calls: list[Callable[[], None]]) -> None:
    for call in calls:
        try:
            call()
        except Exception as error:
            loop.call_exception_handler({"message": "a callback of the broker raised", "exception": error})
