"""Several worker processes under one parent: it starts them, starts a crashed one again, and stops them together.

Theory of operation. Each child is a whole ``taskq worker`` in a session of its own, so that a Ctrl-C in the terminal
reaches the parent only; the parent passes each of its stop signals on once. Each child's standard input is a pipe
that the parent holds open and never writes to: when the parent dies, however it dies, the child reads the end of it
and stops in order. A child that ends by itself is started again, at once after a clean exit (``--max-jobs``), after a
growing pause when it crashed; one that lived for a minute starts the pauses over. Status 2 means that the command
line or the app is wrong: no restart would mend it, so everything stops with that status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from signal import SIGINT, SIGKILL, SIGTERM, Signals

from taskq.clock import Clock
from taskq.lifecycle import ChildExited, Emitter
from taskq.tasks.retry import Exponential, wait_s

USAGE_STATUS = 2
# How a child ends that our stop signal met while it was starting: by the signal itself, or, when it takes SIGTERM for a
# Ctrl-C by then, as Python ends by one.
_STOPPED_EARLY = (-SIGTERM, -SIGINT, 130)
_BACKOFF = Exponential(0.2, cap=30.0, jitter=False)
_LIVED_WELL_S = 60.0
_KILL_MARGIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorOptions:
    """What to run: ``command`` in ``processes`` children. ``burst``: children end by themselves and stay ended."""

    command: Sequence[str]
    processes: int
    grace_s: float
    burst: bool


class Supervisor:
    """Runs worker processes until it is stopped. It runs once."""

    def __init__(self, options: SupervisorOptions, *, clock: Clock, emitter: Emitter, rng: Random) -> None:
        self._options = options
        self._clock = clock
        self._emitter = emitter
        self._rng = rng
        self._children: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()
        self._worst = 0

    def stop(self, reason: str) -> None:
        """Pass a stop on to every child: the first begins their shutdown, the second cuts their grace time."""
        self._stopping.set()
        for child in self._children:
            self._send(child, SIGTERM)

    async def run(self) -> int:
        """Keep the children running; return the exit status when all have ended for good.

        Cancelling it tells the children to stop and leaves them to it.
        """
        try:
            async with asyncio.TaskGroup() as group:
                killer = group.create_task(self._kill_late())
                keepers = [group.create_task(self._keep_one()) for _ in range(self._options.processes)]
                await asyncio.wait(keepers)
                killer.cancel()
        except asyncio.CancelledError:
            self.stop("cancelled")
            raise
        return self._worst

    async def _keep_one(self) -> None:
        crashes = 0
        while not self._stopping.is_set():
            started = self._clock.monotonic()
            child = await self._start()
            status = await child.wait()
            self._children.discard(child)
            lived_well = self._clock.monotonic() - started > _LIVED_WELL_S
            crashes = 0 if status == 0 else 1 if lived_well else crashes + 1
            pause_s = self._restart_pause_s(status, crashes)
            self._emitter.emit(ChildExited(pid=child.pid, status=status, restart_in_s=pause_s))
            if pause_s is None:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    def _restart_pause_s(self, status: int, crashes: int) -> float | None:
        if status == USAGE_STATUS:
            self._worst = USAGE_STATUS
            self.stop("a child cannot start")
        if self._stopping.is_set() and status in _STOPPED_EARLY:
            status = 0
        over = self._stopping.is_set() or (self._options.burst and status in (0, 1))
        if over:
            self._worst = max(self._worst, 1 if status not in (0, USAGE_STATUS) else status)
            return None
        return 0.0 if status == 0 else wait_s(_BACKOFF, crashes, self._rng)

    async def _start(self) -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(
            *self._options.command, stdin=asyncio.subprocess.PIPE, start_new_session=True
        )
        self._children.add(child)
        if self._stopping.is_set():
            self._send(child, SIGTERM)
        return child

    def _send(self, child: asyncio.subprocess.Process, number: Signals) -> None:
        with suppress(ProcessLookupError):
            child.send_signal(number)

    async def _kill_late(self) -> None:
        """End children that do not end within the grace time and a margin: nothing holds the exit."""
        await self._stopping.wait()
        await asyncio.sleep(self._options.grace_s + _KILL_MARGIN_S)
        for child in self._children:
            self._send(child, SIGKILL)
