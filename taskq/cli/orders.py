"""What the command line asks of a worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from taskq.cli.session import LogLevel
from taskq.settings import LogFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """One field for each option. ``None`` leaves it to the settings."""

    reference: str
    queues: dict[str, int | None] | None
    concurrency: int | None
    grace_s: float | None
    burst: bool
    max_jobs: int | None
    supervised: bool
    log_format: LogFormat | None
    log_level: LogLevel | None
    app_dir: Path | None
