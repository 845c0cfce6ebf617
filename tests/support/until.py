"""Waiting for a condition that nobody signals: another process, another thread, or the inside of what is tested."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], object], *, timeout_s: float = 20.0) -> None:
    """Return when ``holds()`` is true; raise ``TimeoutError`` when it never is. It is a bound, no stopwatch."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110  # see the module
            await asyncio.sleep(0.001)
