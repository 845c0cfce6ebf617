"""What a command printed, against what the page shows: ids, times, process ids and places made alike first. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

HOME = "/home/ada/shop"  # the reader's folder, as pages show it
GAP = "..."  # a line that stands for any number of lines

_ALIKE = (
    (re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\(B|\r"), ""),  # colours
    (re.compile(r"\bamqp://[^\s,;()]+"), "<rabbitmq>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<message id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"), "<instant>"),
    (re.compile(r"\b1\d{12}\b"), "<milliseconds>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(\.\d{3})?\b"), "<time>"),
    (re.compile(r"\b(in|after|waiting|attempt \d+,) (<1 ms|\d+(\.\d+)? (ms|s|min))"), r"\1 <duration>"),
    (re.compile(r'("duration_s"): [0-9.e-]+'), r"\1: <duration>"),
    (re.compile(r"\b(worker|process|pid) \d+\b"), r"\1 <pid>"),
    (re.compile(r"\bline \d+, in"), "line <n>, in"),
    (re.compile(r"^( *)[~^]+$", re.MULTILINE), ""),  # Python's own marks below a line of a traceback differ by version
)


def alike(text: str, folder: str = HOME) -> list[str]:
    """Return the lines of ``text`` without what differs from run to run."""
    text = text.replace(folder, HOME).replace("\N{NO-BREAK SPACE}", " ")
    for pattern, name in _ALIKE:
        text = pattern.sub(name, text)
    lines = [line.rstrip() for line in text.splitlines() if line.strip() != "^C"]
    return [line for line in lines if line]


def difference(shown: str, printed: str, folder: str = HOME) -> str:
    """Return how the shown output differs from the real one, or nothing."""
    expected, real = alike(shown), alike(printed, folder)
    if _fits(expected, real):
        return ""
    return "\n".join(difflib.unified_diff(expected, real, "the page", "really printed", lineterm="", n=20))


def _fits(expected: Sequence[str], real: Sequence[str]) -> bool:
    if not expected:
        return not real
    if expected[0].strip() == GAP:
        return any(_fits(expected[1:], real[at:]) for at in range(len(real) + 1))
    return bool(real) and expected[0] == real[0] and _fits(expected[1:], real[1:])
