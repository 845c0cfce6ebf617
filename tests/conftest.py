"""What holds for every test: no leaked task or thread, and property tests without a stopwatch.

The event loop is asyncio's own; uvloop is used where a test asks for it.
"""

import os

from hypothesis import settings

from tests.support.leaks import no_leaked_tasks, no_leaked_threads, watched_loop

__all__ = ["no_leaked_tasks", "no_leaked_threads", "watched_loop"]

# A loaded machine is slow, not wrong; and CI must not fail on an example that nobody can see again.
settings.register_profile("taskq", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("taskq")
