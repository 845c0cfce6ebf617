"""Text that others wrote, made safe to show: no message can forge a line of a log, or steer a terminal.

Everything that Python does not call printable is shown as an escape: control characters, so that no ANSI sequence and
no carriage return gets through, the marks that turn the direction of text, halves of surrogate pairs. It is the only
place that does this; who writes to a log or a terminal asks here. It never changes what is stored or sent.
"""

from __future__ import annotations

_INDENT = "\n    "


def printable(text: str) -> str:
    """Return ``text`` for people. Line ends stay, indented, so that no second line looks like a record of its own."""
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() or c == "\n" else _escaped(c) for c in text]).replace("\n", _INDENT)


def one_line(text: str) -> str:
    """Return ``text`` for people, in one line: names, ids, values, whatever stands inside a line of ours."""
    return text if text.isprintable() else "".join([c if c.isprintable() else _escaped(c) for c in text])


def printable_json(text: str) -> str:
    """Return a JSON document for programs, and for the terminal that they may have been left out of: the same value."""
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() or c == "\n" else _json_escaped(c) for c in text])


def _escaped(character: str) -> str:
    return repr(character)[1:-1]


def _json_escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
