"""The testing kit: an app with its worker in one process, on a broker in memory and a clock that tests move.

See ``docs/guide/testing.md``. It is for tests only and keeps no promise of durability.
"""

from taskq.testing.clock import MovableClock
from taskq.testing.context import context
from taskq.testing.harness import Harness

__all__ = ["Harness", "MovableClock", "context"]
