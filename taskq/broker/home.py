"""Where a broker is at home: the process and the event loop that opened it. Elsewhere it cannot be used."""

from __future__ import annotations

import asyncio
import os

from taskq.errors import UsageError


class Home:
    """The process and the running event loop of the moment in which it is made."""

    __slots__ = ("_pid", "loop")

    def __init__(self) -> None:
        self._pid = os.getpid()
        self.loop = asyncio.get_running_loop()

    def check(self) -> None:
        """Raise :class:`UsageError` in another process, and on another event loop."""
        if os.getpid() != self._pid:
            raise UsageError(
                "this broker was opened before the process was forked; open the app in the child instead of using "
                "its parent's"
            )
        if asyncio.get_running_loop() is not self.loop:
            raise UsageError(
                "this broker was opened on another event loop; come back to that one with "
                "asyncio.run_coroutine_threadsafe(…), or open an app of its own here"
            )
