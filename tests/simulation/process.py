"""A simulated process: its event loop, the thread of its engine, its datagrams, and how it ends.

All processes share one thread of Python and one virtual clock. A process that is killed is not told: its loop runs
nothing any more, its connection is closed (which is what the kernel does with its locks), and what it had claimed stays
in the database until others notice. One that is paused goes on later as if nothing had been.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from math import inf
from typing import TYPE_CHECKING, Any

from taskq.broker.sqlite.engine import Engine, Rest
from taskq.broker.sqlite.process import Process
from taskq.broker.sqlite.system import System
from tests.simulation.database import SimulatedConnection, Trouble, opener
from tests.simulation.loop import VirtualLoop

if TYPE_CHECKING:
    from tests.simulation.world import World

BOOT, NAMESPACE = "boot", "namespace"
_REFUSED_S = 0.001
"""How long it takes at most to hear that another one has the lock: nothing is read or written for it."""
LONG_S = 10.0
"""From here on a pause may cost a process its lease: others find it over, and look again."""


class VirtualThread:
    """Drives one engine. A turn of it happens at one instant; the loop hears of it ``lasts`` seconds later.

    So a commit is stored at the earliest instant at which it may be, and told at the latest: everything that can happen
    in between, to this process and to others, happens after the one and before the other.
    """

    def __init__(self, process: SimulatedProcess, engine: Engine) -> None:
        self.process = process
        self.lasts = 0.0
        self.busy_until = 0.0
        self.trouble: Trouble | None = None
        self.statements = 0
        self._engine = engine
        self._life = engine.life()
        self._rest: Rest | None = None
        self._rests_until = inf
        self.ended = False

    def next_at(self) -> float:
        """Return when it has something to do; ``inf``: when somebody hands something over."""
        if self.ended:
            return inf
        if self._rest is None or self._rest.over():
            return self.busy_until
        return max(self.busy_until, self._rests_until)

    def step(self) -> str:
        """Take one turn."""
        world = self.process.world
        self.lasts = world.faults.turn_lasts()
        self.trouble = world.faults.trouble_of_turn()
        self.statements = 0
        world.thread = self
        try:
            self._rest = next(self._life)
        except StopIteration:
            self.ended = True
        finally:
            world.thread = None
        self.busy_until = world.now + self.lasts
        seconds = None if self._rest is None else self._rest.seconds
        self._rests_until = inf if seconds is None else self.busy_until + seconds
        return f"engine, for {self.lasts:.6f} s"

    def die(self) -> None:
        """End without a word."""
        self.ended = True
        try:
            self._life.close()
        except RuntimeError:  # the loop that wants to hear of it is gone
            pass

    def before(self, connection: SimulatedConnection, statement: str) -> Trouble | None:
        """Say what goes wrong with a statement of its connection."""
        world = self.process.world
        self.statements += 1
        if statement.startswith("BEGIN I") or statement.startswith("BEGIN E"):
            if world.is_locked_for(self):
                self.lasts = min(self.lasts, _REFUSED_S)
                return Trouble("busy", 0, ends=False)
            world.holder = self
        if statement == "ROLLBACK":
            return None
        own = self.trouble
        if own is not None and (statement == "COMMIT" if own.at == 0 else own.at == self.statements):
            self.trouble = None
            world.note(f"{self.process.name}: {own.code} at {statement.split(None, 1)[0]}")
            return own
        return world.faults.trouble_of_all(statement)


class Datagrams:
    """Implements :class:`taskq.broker.sqlite.wakeups.Wakeups` among the simulated processes."""

    def __init__(self, process: SimulatedProcess) -> None:
        self.port = process.pid
        self._process = process
        self._loop: VirtualLoop | None = None
        self._woken: Callable[[int], None] = lambda queue: None

    def listen(self, loop: asyncio.AbstractEventLoop, woken: Callable[[int], None]) -> None:
        assert isinstance(loop, VirtualLoop)
        self._loop, self._woken = loop, woken
        self._process.datagrams = self

    def notify(self, port: int, queue: int) -> None:
        self._process.world.send(port, queue)

    def close(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._process.datagrams = None

    def receive(self, queue: int) -> None:
        """Let a datagram arrive."""
        if self._loop is not None:
            self._loop.bring(asyncio.Handle(self._woken, (queue,), self._loop))


class SimulatedProcess:
    """``main`` is what it runs; with it, the process ends. ``on_stop``: what a signal does to it.

    ``held_up_s``: for how long, in all, its loop could not run. ``told_at``: when it was first told to end.
    ``was_cut``: whether it was cancelled, or paused for long while it was ending, and so had no time to tidy up.
    """

    def __init__(self, world: World, name: str, pid: int, role: str) -> None:
        self.world = world
        self.name = name
        self.pid = pid
        self.role = role
        self.loop = VirtualLoop(world, name)
        self.threads: list[VirtualThread] = []
        self.datagrams: Datagrams | None = None
        self.alive = True
        self.killed = False
        self.paused_until = self.blocked_until = 0.0
        self.on_stop: Callable[[str], None] | None = None
        self.main: asyncio.Task[None] | None = None
        self.ops: list[asyncio.Task[Any]] = []
        self.held_up_s = 0.0
        self.times_cancelled = 0
        self.told_at: float | None = None
        self.was_paused_for_long = False
        self.stops = False
        self.was_cut = False

    def start(self, main: Coroutine[Any, Any, None]) -> None:
        """Begin."""
        self.main = self.loop.create_task(main)

    @property
    def system(self) -> System:
        """What its broker takes for the operating system."""
        me = Process(self.pid, self.pid, BOOT, NAMESPACE)
        return System(
            start=self._start_engine,
            this_process=lambda: me,
            is_gone=self.world.is_gone,
            wakeups=lambda: Datagrams(self),
            open_database=opener(self._before, lambda other: not self.world.is_gone(other)),
        )

    def next_at(self) -> float:
        """Return when it has something to do."""
        at = max(self.blocked_until, self.loop.next_timer())
        for thread in self.threads:
            at = min(at, thread.next_at())
        return max(self.paused_until, at)

    def kill(self) -> None:
        """End it as SIGKILL does."""
        self.killed = True
        self._end()

    def exit(self) -> None:
        """End it when its main program has ended."""
        assert self.main is not None
        left = sorted(what(task) for task in self.loop.tasks if not task.done())
        if left and not self.times_cancelled:  # else what is shielded goes on, until the program's loop is closed
            self.world.complain(f"{self.name}: ended, and left tasks behind: {', '.join(left)}")
        for task in self.loop.tasks:
            if task is not self.main and task.done() and task._log_traceback:  # type: ignore[attr-defined]
                self.world.complain(f"{self.name}: nobody looked at the error of {what(task)}: {task.exception()!r}")
        self._end()

    def pause(self, seconds: float) -> None:
        """Stop it as SIGSTOP does, for so long."""
        now = self.world.now
        self._hold_up(now + seconds)
        self.was_paused_for_long |= seconds >= LONG_S
        self.was_cut |= self.stops and seconds >= LONG_S
        self.paused_until = max(self.paused_until, now + seconds)
        for thread in self.threads:
            if thread.busy_until > now:
                thread.busy_until += seconds

    def block(self, seconds: float) -> None:
        """Block its loop for so long, as a task does that never awaits; its engine goes on."""
        self._hold_up(self.world.now + seconds)
        self.blocked_until = max(self.blocked_until, self.world.now + seconds)

    def cancel(self) -> None:
        """Cancel its main program, as whoever runs it in a task of theirs may."""
        if self.alive and self.main is not None:
            self.times_cancelled += 1
            self.was_cut = True
            self.told_at = self.told_at or self.world.now
            self.main.cancel()

    def _hold_up(self, until: float) -> None:
        """Count for how long, in all, its loop does not run."""
        self.held_up_s += max(0.0, until - max(self.world.now, self.paused_until, self.blocked_until))

    def go_on(self) -> None:
        """End a pause before its time."""
        self.paused_until = self.blocked_until = 0.0
        for thread in self.threads:
            thread.busy_until = min(thread.busy_until, self.world.now)

    def _end(self) -> None:
        self.alive = False
        for thread in self.threads:
            thread.die()

    def _start_engine(self, engine: Engine) -> None:
        self.threads.append(VirtualThread(self, engine))

    def _before(self, connection: sqlite3.Connection, statement: str) -> Trouble | None:
        assert isinstance(connection, SimulatedConnection)
        thread = self.world.thread
        return None if thread is None else thread.before(connection, statement)


def what(task: asyncio.Task[Any]) -> str:
    """Return the name of a task's coroutine."""
    return str(getattr(task.get_coro(), "__qualname__", "?"))
