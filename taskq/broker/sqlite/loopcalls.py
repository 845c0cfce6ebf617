"""From the engine's thread to event loops: all that a batch has for a loop in one hand-over, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from taskq.broker.sqlite.operation import Operation

Call = tuple[asyncio.AbstractEventLoop, Callable[[], None]]

_Told = tuple[list[Operation[Any]], list[Callable[[], None]]]


def tell_loops(operations: Iterable[Operation[Any]], calls: Sequence[Call] = ()) -> None:
    """Tell each loop the results of its operations, then make its calls; one that raises does not stop the others.

    On a loop that is closed nobody is left who waits.
    """
    by_loop: dict[asyncio.AbstractEventLoop, _Told] = {}
    for operation in operations:
        loop = operation.loop
        if loop not in by_loop:
            by_loop[loop] = [], []
        by_loop[loop][0].append(operation)
    for loop, call in calls:
        by_loop.setdefault(loop, ([], []))[1].append(call)
    for loop, (told, made) in by_loop.items():
        try:
            loop.call_soon_threadsafe(_tell, loop, told, made)
        except RuntimeError:
            pass


def _tell(loop: asyncio.AbstractEventLoop, operations: list[Operation[Any]], calls: list[Callable[[], None]]) -> None:
    for operation in operations:
        try:
            operation.tell()
        except Exception as error:
            _report(loop, error)
    for call in calls:
        try:
            call()
        except Exception as error:
            _report(loop, error)


def _report(loop: asyncio.AbstractEventLoop, error: Exception) -> None:
    loop.call_exception_handler({"message": "a callback of the broker raised", "exception": error})
