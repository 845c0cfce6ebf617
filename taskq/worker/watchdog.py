"""Notices what blocks the event loop, and shows where.

The loop stamps the time every quarter of a second. A thread looks at the stamp; when it is older than a second it
takes the stack of the loop's thread, which stands in whatever blocks it, and emits it once for each block.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback

from taskq.lifecycle import Emitter, LoopBlocked

_STAMP_S = 0.25
_BLOCKED_S = 1.0


class Watchdog:
    """A context manager that watches the event loop it is entered on."""

    def __init__(self, emitter: Emitter, *, blocked_s: float = _BLOCKED_S) -> None:
        self._emitter = emitter
        self._blocked_s = blocked_s
        self._stamp = time.monotonic()
        self._ended = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._watched = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="taskq-watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._tick()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()
        self._thread.join()

    def _tick(self) -> None:
        self._stamp = time.monotonic()
        self._timer = self._loop.call_later(_STAMP_S, self._tick)

    def _watch(self) -> None:
        told = 0.0
        while not self._ended.wait(_STAMP_S):
            stamp = self._stamp
            blocked = time.monotonic() - stamp
            if blocked > self._blocked_s and told != stamp:
                told = stamp
                self._emitter.emit(LoopBlocked(seconds=blocked, stack=self._stack()), loop=self._loop)

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._watched)  # pyright: ignore[reportPrivateUsage]  # documented in `sys`
        return "".join(traceback.format_stack(frame, limit=20)) if frame else ""
