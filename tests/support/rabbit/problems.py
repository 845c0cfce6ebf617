"""What a node's log tells about clients that broke the protocol. Pure.

A client that goes away without a word is none of these: killed processes do.
"""

from __future__ import annotations

import re

_LINE = re.compile(r"(?P<head>\d{4}-\d\d-\d\d \S+ \[(?P<level>\w+)\] <[\d.]+>) ?(?P<text>.*)")
_SEVERE = ("error", "critical", "alert", "emergency")
_ABOUT_CLIENTS = re.compile(
    r"channel error|error on amqp connection|closing amqp connection|caused an? (?:channel|connection) exception"
    r"|handshake_timeout|missed heartbeats",
    re.IGNORECASE,
)
_GONE = ("client unexpectedly closed TCP connection", "{inet_error,closed}")


def problems(log: str) -> list[str]:
    """Return the entries that mean a channel or connection error, in their order."""
    return [text for level, text in _entries(log) if _is_problem(level, text)]


def _is_problem(level: str, text: str) -> bool:
    if level == "warning":
        return "closing AMQP connection" in text and not any(gone in text for gone in _GONE)
    return level in _SEVERE and _ABOUT_CLIENTS.search(text) is not None


def _entries(log: str) -> list[tuple[str, str]]:
    """Level and text of each entry; an entry of several lines has the same head on each of them."""
    entries: list[tuple[str, str, list[str]]] = []
    for line in log.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            if entries:
                entries[-1][2].append(line)
        elif entries and entries[-1][0] == found["head"]:
            entries[-1][2].append(found["text"])
        else:
            entries.append((found["head"], found["level"], [found["text"]]))
    return [(level, "\n".join(lines).strip()) for _, level, lines in entries]
