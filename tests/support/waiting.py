"""Waiting for a condition, with a deadline: the only way in which a test waits for something it cannot await."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

LOOK_S = 0.02


async def until(holds: Callable[[], object], *, timeout_s: float = 20.0) -> None:
    """Return when ``holds()`` is true, looked at a thousand times a second; raise ``TimeoutError`` when it never is."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110  # nobody signals it: another thread, or the inside of what is tested
            await asyncio.sleep(0.001)


async def eventually(
    condition: Callable[[], Any],
    what: str,
    *,
    within_s: float = 20.0,
    look_s: float = LOOK_S,
    detail: Callable[[], object] = str,
) -> Any:
    """Return the first true value of ``condition``, which may be a coroutine function.

    ``look_s``: how often to look. Fails after ``within_s`` seconds, saying ``what`` was waited for and ``detail``.
    """
    deadline = time.monotonic() + within_s
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"within {within_s:g} s, not true: {what}\n{detail()}")
        await asyncio.sleep(look_s)
