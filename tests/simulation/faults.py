"""What goes wrong, drawn from the seed: each seed has kinds of its own, and a weather of its own.

A fault strikes after a number of callbacks, not at a time: so it comes between any two of them, which is at any await
of any process and between any two turns of an engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.database import CODES, Trouble
from tests.support.ledger import Fault

if TYPE_CHECKING:
    from tests.simulation.process import SimulatedProcess
    from tests.simulation.world import World

KINDS = (
    "kill worker",
    "kill producer",
    "pause",
    "long pause",
    "block loop",
    "stop worker",
    "stop twice",
    "cancel worker",
    "cancel call",
    "statement fails",
    "commit fails",
    "disk full",
    "locked",
    "slow commit",
    "clock forward",
    "clock back",
)

_GIVES_UP_AFTER_S = 2.0
"""A worker that shuts down waits for so long, at least, for a broker that does not answer."""
_GIVES_UP_WHEN_CANCELLED = 2
"""How many times a worker has to be cancelled before it leaves everything as it is."""

_PASSING = ("full", "io error", "no memory")


@dataclass(slots=True)
class Weather:
    """How a machine is, all the time: how long commits take, how many datagrams are lost."""

    commit_s: float
    slow_share: float
    slow_s: float
    lost: float
    hop_s: float


class Faults:
    """``records``: what may make a job run twice, for the ledger. ``obstructed_s``: for how long, at most, nobody could
    write; a process that is paused within a transaction has the file locked.
    """

    def __init__(self, world: World, chance: Random) -> None:
        self.records: list[Fault] = []
        self.counts: dict[str, int] = {}
        self.obstructed_s = 0.0
        self.kinds: tuple[str, ...] = ()
        self._world = world
        self._chance = chance
        self._left = 0
        self._gap = 0
        self._next = inf
        self._full_until = self._locked_until = self._slow_until = 0.0
        self._turn: list[tuple[str, int, bool]] = []  # what happens in the next turns of engines
        self.weather = Weather(
            commit_s=chance.choice((1e-5, 2e-4, 2e-3, 1e-2)),
            slow_share=chance.choice((0.0, 0.0, 0.02, 0.2)),
            slow_s=chance.choice((0.05, 0.5)),
            lost=chance.choice((0.0, 0.0, 0.1, 0.9)),
            hop_s=chance.choice((0.0, 1e-5, 1e-3)),
        )

    def plan(self, kinds: tuple[str, ...], number: int, gap: int) -> None:
        """Let ``number`` faults of these kinds strike, ``gap`` callbacks apart in the mean."""
        self.kinds, self._left, self._gap = kinds, number if kinds else 0, gap
        self._draw_next()

    @property
    def over(self) -> bool:
        """Whether no further fault comes."""
        return not self._left

    def heal(self) -> None:
        """End all of it."""
        self._left, self._next = 0, inf
        self._full_until = self._locked_until = self._slow_until = 0.0
        self._turn.clear()
        for process in self._world.processes:
            process.go_on()
        self.weather = Weather(2e-4, 0.0, 0.0, 0.0, 0.0)

    def step(self) -> None:
        """Strike, when it is time."""
        if self._world.steps >= self._next:
            self._left -= 1
            self._draw_next()
            self._strike(self._chance.choice(self.kinds))

    def _draw_next(self) -> None:
        gap = 1 + int(self._chance.expovariate(1 / self._gap)) if self._left else inf
        self._next = self._world.steps + gap

    # The weather.

    def turn_lasts(self) -> float:
        """Return how long the next turn of an engine lasts."""
        weather, chance = self.weather, self._chance
        if self._world.now < self._slow_until or (weather.slow_share and chance.random() < weather.slow_share):
            return chance.random() * max(weather.slow_s, 0.2)
        return chance.random() * weather.commit_s

    def hop(self) -> float:
        """Return how long a word of another thread is under way to the loop."""
        return self._chance.random() * self.weather.hop_s

    def datagram(self) -> float | None:
        """Return how long a datagram is under way, or ``None`` when it is lost."""
        return None if self._chance.random() < self.weather.lost else self._chance.random() * 1e-3

    def trouble_of_turn(self) -> Trouble | None:
        """Return the error of the next turn of an engine."""
        if not self._turn:
            return None
        code, at, ends = self._turn.pop()
        return Trouble(code, at, ends)

    def trouble_of_all(self, statement: str) -> Trouble | None:
        """Return what goes wrong for everybody at the moment."""
        now = self._world.now
        if now < self._locked_until and statement.startswith(("BEGIN I", "BEGIN E")):
            return Trouble("busy", 0, ends=False)
        if now < self._full_until and statement == "COMMIT":
            return Trouble("full", 0, ends=True)
        return None

    def gave_up(self, process: SimulatedProcess, what: str) -> None:
        """A process that ends has not settled what it was handed. It may leave that to others when it could not."""
        told_at = process.told_at
        could = self.obstructed_s < _GIVES_UP_AFTER_S and process.times_cancelled < _GIVES_UP_WHEN_CANCELLED
        if told_at is None or could:
            self._world.complain(f"{process.name}: {what}, and nothing had happened")
        else:
            self.records.append(Fault(what="gave up", at=told_at, until=self._world.now, pid=process.pid))

    def taken_over(self, pid: int) -> None:
        """What a process had is somebody else's. One that is paused is let go on just then: it does not know yet."""
        for process in self._world.living():
            if process.pid == pid and process.paused_until > self._world.now:
                self._world.at(self._world.now + self._chance.choice((0.0, 0.01, 0.1)), process.go_on)

    # Strikes.

    def _strike(self, kind: str) -> None:
        victim = self._victim(kind)
        if victim is None and kind not in _OF_ALL:
            return
        self.counts[kind] = self.counts.get(kind, 0) + 1
        name = "all" if victim is None or kind in _OF_ALL else victim.name
        self._world.note(f"FAULT {kind}: {name}")
        until = self._hit(kind, victim)
        if kind in _OBSTRUCTS:
            self.obstructed_s += until - self._world.now
        pid = None if victim is None or kind in _OF_ALL else victim.pid
        if kind in _REPEATS:  # nothing else may make a job run twice
            self.records.append(Fault(what=kind, at=self._world.now, until=until, pid=pid))

    def _victim(self, kind: str) -> SimulatedProcess | None:
        world = self._world
        match kind:
            case "kill worker" | "stop worker" | "stop twice" | "cancel worker":
                candidates = world.living("worker")
            case "kill producer":
                candidates = world.living("producer")
            case "cancel call":
                candidates = [process for process in world.living() if any(not op.done() for op in process.ops)]
            case _:
                candidates = world.living()
        return self._chance.choice(candidates) if candidates else None

    def _hit(self, kind: str, victim: SimulatedProcess | None) -> float:
        """Do it, and return until when it lasts."""
        world, chance = self._world, self._chance
        now = world.now
        match kind:
            case "disk full":
                self._full_until = now + chance.choice((0.1, 1.0, 4.0, 18.0))
                return self._full_until
            case "locked":
                self._locked_until = now + chance.choice((0.05, 1.0, 4.0, 18.0))
                return self._locked_until
            case "slow commit":
                self._slow_until = now + chance.choice((0.2, 2.0))
                return self._slow_until
            case "clock forward":
                world.set_wall(chance.choice((0.3, 5.0, 3600.0)))
            case "clock back":
                world.set_wall(-chance.choice((0.3, 2.0, 5.0)))
            case "statement fails":
                self._turn.append((chance.choice(list(CODES)), chance.randint(1, 12), chance.random() < 0.5))
            case "commit fails":
                self._turn.append((chance.choice(_PASSING), 0, chance.random() < 0.5))
            case _:
                assert victim is not None
                return self._hit_process(kind, victim)
        return now

    def _hit_process(self, kind: str, victim: SimulatedProcess) -> float:
        world, chance = self._world, self._chance
        now = world.now
        match kind:
            case "kill worker" | "kill producer":
                victim.kill()
            case "pause":
                victim.pause(chance.choice((0.01, 0.3, 1.0)))
                return victim.paused_until
            case "long pause":
                victim.pause(chance.choice((10.0, 15.5, 20.0)))
                return victim.paused_until
            case "block loop":
                victim.block(chance.choice((0.1, 1.0, 16.0)))
            case "stop worker":
                _stop(victim, "SIGTERM")
            case "stop twice":
                _stop(victim, "SIGTERM")
                world.at(now + chance.choice((0.0, 0.01, 0.3)), lambda: _stop(victim, "SIGINT"))
            case "cancel worker":
                for after_s in chance.choice(((0.0,), (0.0,), (0.0, 0.01), (0.0, 0.0, 0.1))):
                    world.at(now + after_s, victim.cancel)
            case "cancel call":
                chance.choice([op for op in victim.ops if not op.done()]).cancel()
            case _:
                raise AssertionError(kind)
        return now


def _stop(process: SimulatedProcess, reason: str) -> None:
    """A signal; it runs on the loop of the process."""
    if process.alive and process.on_stop is not None:
        process.told_at = process.told_at or process.world.now
        process.loop.call_soon(process.on_stop, reason)


_OF_ALL = frozenset(
    {"disk full", "locked", "slow commit", "clock forward", "clock back", "statement fails", "commit fails"}
)
_REPEATS = frozenset({"kill worker", "long pause"})
_OBSTRUCTS = frozenset({"disk full", "locked", "slow commit", "pause", "long pause"})
