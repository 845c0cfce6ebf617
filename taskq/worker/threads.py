"""Sync functions in threads.

Each call has a daemon thread of its own: a thread that never ends can then hold neither a pool nor the exit of the
process. What a start costs (some 50 µs) is small beside what people put into threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from itertools import count
from typing import Any

_numbers = count(1)


def start_thread(function: Callable[[], Any], name: str) -> asyncio.Future[Any]:
    """Run ``function`` in a new thread, with a copy of the caller's context variables.

    The future ends when the thread does. Cancelling the future does not stop the thread, so wait for it shielded.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    future.add_done_callback(_retrieve)
    context = copy_context()

    def tell(setter: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            setter(value)

    def run() -> None:
        setter: Callable[[Any], None] = future.set_exception
        value: Any
        try:
            value = context.run(function)
            setter = future.set_result
        except (StopIteration, GeneratorExit) as error:  # they mean something else to a future and to who awaits it
            value = RuntimeError(f"the task raised {error!r}")
        except BaseException as error:
            value = error
        with suppress(RuntimeError):  # the loop is closed: the worker went without this thread
            loop.call_soon_threadsafe(tell, setter, value)

    threading.Thread(target=run, name=f"taskq-{next(_numbers)}-{name}", daemon=True).start()
    return future


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Look at the error of a thread that nobody waits for any more, so that asyncio does not complain of it."""
    if not future.cancelled():
        future.exception()
