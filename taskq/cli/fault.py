"""An error in the user's code, for people: the line of their file in one line, or the traceback without our frames."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from pathlib import Path

_OURS = str(Path(__file__).parents[1]) + os.sep
_PYTHONS = tuple(os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def fault_line(error: BaseException, folder: Path) -> str:
    """Return ``shop/queue.py, line 3: ImportError: …``, with the last line of the user's own that led to ``error``."""
    what = f"{type(error).__name__}: {_text(error)}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename, folder)}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    return f"{_short(own[-1].filename, folder)}, line {own[-1].lineno}: {what}" if own else what


def is_raised_inside(error: BaseException) -> bool:
    """Say whether a line of the user's own code had begun to run when ``error`` was raised."""
    return any(_is_users(frame.filename) for frame in traceback.extract_tb(error.__traceback__))


def show_traceback(error: BaseException) -> None:
    """Write the traceback of the user's code to standard error, from its first own frame on."""
    from taskq.observability.safetext import printable  # noqa: PLC0415  # `taskq --help` needs neither

    trace = error.__traceback__
    while trace is not None and not _is_users(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error, trace or error.__traceback__)
    print(printable("".join(lines).rstrip()).replace("\n    ", "\n"), file=sys.stderr)


def _is_users(filename: str) -> bool:
    return not filename.startswith(("<", _OURS, *_PYTHONS))


def _text(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, SystemExit):
        return f"it ends the program with status {text or 0}; a module that declares tasks must only declare"
    return text or "(no text)"


def _short(filename: str, folder: Path) -> str:
    try:
        return str(Path(filename).relative_to(folder))
    except ValueError:
        return filename
