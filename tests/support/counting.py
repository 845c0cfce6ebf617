"""Counts what Python executes in taskq's own code: the same number for the same work, however busy the machine is."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Self


@dataclass
class Counted:
    """``instructions``: bytecode, with that of dataclasses' generated methods. ``calls``: of functions written in C."""

    instructions: int = 0
    calls: int = 0


class Counting:
    """Counts inside the block, on this thread, on top of ``counted``.

    What others execute (asyncio, pydantic, the test) is not in it.
    """

    def __init__(self, counted: Counted | None = None) -> None:
        self.counted = counted or Counted()
        self._before: tuple[Any, Any] = (None, None)

    def __enter__(self) -> Self:
        self._before = sys.gettrace(), sys.getprofile()
        sys.settrace(self._trace)
        sys.setprofile(self._profile)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.settrace(self._before[0])
        sys.setprofile(self._before[1])

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not _is_ours(frame):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._count

    def _count(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "opcode":
            self.counted.instructions += 1
        return self._count

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        if event == "c_call" and _is_ours(frame):
            self.counted.calls += 1


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith("taskq.")
