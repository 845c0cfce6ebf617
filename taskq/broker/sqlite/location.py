"""Where a database is: the URL of an embedded broker, read. Pure, but for the working directory.

An error shows no piece of the URL: one that was meant for another broker may have a password in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from taskq.errors import UsageError


@dataclass(frozen=True, slots=True)
class Location:
    """A file (``path``), or a database in memory (``path`` is ``None``). ``label`` is the absolute URL.

    ``synchronous``: SQLite's pragma of this name. ``full``: each commit is flushed to the disk; ``normal``: each
    checkpoint is, so that a power cut may take the last commits back.
    """

    path: Path | None
    label: str
    synchronous: Literal["full", "normal"] = "full"


def read_location(url: str) -> Location:
    """Read ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``memory://`` or ``memory://name``.

    A file may have ``?synchronous=normal``. Raises :class:`UsageError` for anything else.
    """
    parts = _split(url)
    if parts is None:
        raise _refused("it cannot be read")
    if parts.fragment or (parts.query and parts.scheme != "sqlite"):
        raise _refused("it takes no '?' or '#'; write them as %3F and %23 in a file name")
    if parts.scheme == "memory":
        if "@" in url:
            raise _refused("a database in memory is memory:// or memory://name, without a user")
        return Location(None, f"memory://{parts.netloc}{parts.path}")
    if parts.scheme != "sqlite":
        raise _refused("the embedded broker knows sqlite:///file and memory://")
    name = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not name:
        raise _refused(
            "a file is sqlite:///name.db (relative) or sqlite:////folder/name.db, with three or four slashes"
        )
    path = Path(name).absolute()
    label = f"sqlite:///{quote(str(path))}"
    match parse_qsl(parts.query, keep_blank_values=True):
        case [] | [("synchronous", "full")]:
            return Location(path, label)
        case [("synchronous", "normal")]:
            return Location(path, f"{label}?synchronous=normal", "normal")
        case _:
            raise _refused(
                "behind a '?' it takes synchronous=full (the default) or synchronous=normal and nothing else; "
                "write a '?' in a file name as %3F",
            )


def _split(url: str) -> SplitResult | None:
    # What is raised in here is chained to nothing: its text may hold what stands before the path.
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _refused(why: str) -> UsageError:
    return UsageError(f"broker URL: {why}")
