"""What taskq draws by itself (ids, the jitter of backoffs) and what measures real time, for the time of one simulation.

Ids are drawn from the seed, so that a trace is the same each time. The watchdog of workers is left out: it is a thread
that measures in real time how long a loop is blocked.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace, TracebackType
from unittest.mock import patch

from taskq.app import working
from taskq.broker import names
from taskq.wire import ids
from taskq.worker import worker
from tests.simulation.world import World


class _NoWatchdog:
    def __init__(self, emitter: object) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


@contextmanager
def drawn_by(world: World) -> Iterator[None]:
    """Let the seed of ``world`` draw everything."""
    chance = Random(f"{world.seed}: ids")
    backoffs = Random(f"{world.seed}: backoffs")

    def uuid4() -> uuid.UUID:
        return uuid.UUID(bytes=chance.randbytes(16), version=4)

    with (
        patch.object(ids, "os", SimpleNamespace(urandom=chance.randbytes)),
        patch.object(ids, "time", SimpleNamespace(time_ns=lambda: int(world.wall * 1e9))),
        patch.object(names, "uuid", SimpleNamespace(uuid4=uuid4)),
        patch.object(working, "Random", lambda: backoffs),
        patch.object(worker, "Watchdog", _NoWatchdog),
    ):
        yield
