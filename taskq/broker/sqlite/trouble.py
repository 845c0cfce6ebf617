"""What keeps an engine from storing anything: for whoever asks, and told once for each reason to whoever watches.

Theory of operation. A fault is noted when it is met, and forgotten with the next transaction that is stored. A lock
that somebody else has is usual and passes; it is told when it has lasted. The others are told at once. That it is over
is told when something was stored and no fault was met for a while: between the failures of one operation others may
succeed, which need no room on the disk, or another page of the file.

A file that is gone is the end: nothing is tried any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from taskq.broker.sqlite.faults import Fault, FileGone, reason_of
from taskq.broker.sqlite.loopcalls import tell_loops
from taskq.clock import Clock
from taskq.errors import BrokerError

_LONG_S = 2.0  # a lock that lasts so long is worth a word
_CALM_S = 2.0
_PAST_S = 2.0  # what was met so long ago is over: whatever waits is tried again much sooner


class Watcher(Protocol):
    """Who is told, on its own loop."""

    def interrupted(self, reason: str) -> None: ...

    def resumed(self) -> None: ...

    def ended(self, error: BrokerError) -> None: ...


class Trouble:
    """Of one engine, written in its thread. ``obstacle`` is the error of what is met now; ``gone`` that of the end."""

    def __init__(self, label: str, clock: Clock) -> None:
        self.obstacle: BrokerError | None = None
        self.gone: FileGone | None = None
        self._label = label
        self._clock = clock
        self._spell: tuple[float, float] | None = None  # when a fault was met first, and last
        self._grave_at = 0.0  # when one was met last that is worth a word
        self._told: set[str] = set()
        self._watchers: tuple[tuple[asyncio.AbstractEventLoop, Watcher], ...] = ()  # replaced, never changed

    # On the loops.

    @property
    def lasts_s(self) -> float:
        """For how long nothing could be stored, in seconds; 0.0 while it can."""
        spell, now = self._spell, self._clock.monotonic()
        return 0.0 if spell is None or _is_past(spell, now) else now - spell[0]

    def watch(self, loop: asyncio.AbstractEventLoop, watcher: Watcher) -> None:
        """Tell ``watcher`` from now on."""
        self._watchers = (*self._watchers, (loop, watcher))

    def unwatch(self, watcher: Watcher) -> None:
        """Tell it no more."""
        self._watchers = tuple(each for each in self._watchers if each[1] is not watcher)

    # In the thread.

    def met(self, fault: Fault, error: BrokerError, cause: Exception) -> None:
        """Take note of a fault, with its error for callers."""
        now, spell = self._clock.monotonic(), self._spell
        self.obstacle = error
        since = now if spell is None or _is_past(spell, now) else spell[0]
        self._spell = since, now
        if fault is Fault.LOCKED and now - since < _LONG_S:
            return
        self._grave_at = now
        reason = reason_of(fault, self._label, cause)
        if reason not in self._told:
            self._told.add(reason)
            self._tell(lambda watcher: partial(watcher.interrupted, reason))

    def passed(self) -> None:
        """Take note that something was stored."""
        self.obstacle = self._spell = None
        if self._told and self._clock.monotonic() - self._grave_at >= _CALM_S:
            self._told.clear()
            self._tell(lambda watcher: watcher.resumed)

    def end(self, change: str) -> FileGone:
        """Take note of what became of the file, and return the error of all that is not stored. It is told once."""
        if self.gone is None:
            gone = self.obstacle = self.gone = FileGone(self._label, change)
            self._tell(lambda watcher: partial(watcher.ended, gone))
        return self.gone

    def _tell(self, call: Callable[[Watcher], Callable[[], None]]) -> None:
        tell_loops((), [(loop, call(watcher)) for loop, watcher in self._watchers])


def _is_past(spell: tuple[float, float], now: float) -> bool:
    """Say whether nothing was met for a while: nothing waited, so nothing could pass either."""
    return now - spell[1] >= _PAST_S
