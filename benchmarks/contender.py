"""One contender: a library with the settings that suit it, its store, and what it guarantees so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Store(StrEnum):
    """Where the jobs are."""

    RABBITMQ = "RabbitMQ"
    REDIS = "Redis"
    SQLITE = "SQLite"
    POSTGRESQL = "PostgreSQL"


class Role(StrEnum):
    """What the contender is there for."""

    OURS = "ours"
    PEER = "peer"
    LIMIT = "limit"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """``program``: its file in ``programs``, without the suffix.

    ``requirements`` are installed into a virtual environment of its own; without any it runs in that of the harness.
    ``worker`` is the command of its worker process: a program of its environment (or ``python``), and arguments in
    which ``{concurrency}`` stands for the jobs at a time, and ``{threads}`` for the same, up to ``threads``, the number
    that suits it best. ``prepare`` is a command that makes an empty place ready for it. ``settings`` are environment
    variables, with the same in their values. ``processes``: how many execute jobs. ``callers``: how many calls in
    flight it bears. ``jobs_one``: how many jobs it gets with a prefetch of one, where it is too slow for the number of
    the others. ``lacks`` are measures (see `measurement`) that it has nothing for.
    """

    name: str
    title: str
    store: Store
    role: Role
    program: str
    worker: tuple[str, ...]
    guarantee: str
    requirements: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    needs_redis: bool = False
    threads: int = 1000
    processes: int = 1
    callers: int = 100
    jobs_one: int = 1_000_000
    lacks: frozenset[str] = frozenset()

    def command(self, concurrency: int) -> tuple[str, ...]:
        """Return the worker's command with its numbers."""
        return tuple(self._filled(part, concurrency) for part in self.worker)

    def environment(self, concurrency: int) -> dict[str, str]:
        """Return its settings with their numbers."""
        return {name: self._filled(value, concurrency) for name, value in self.settings.items()}

    def _filled(self, text: str, concurrency: int) -> str:
        return text.format(concurrency=concurrency, threads=min(concurrency, self.threads))
