"""Where a database is: the URL of an embedded broker, read. Pure, but for the working directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit

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
    parts = urlsplit(url)
    if parts.fragment or (parts.query and parts.scheme != "sqlite"):
        raise _refused(url, "it takes no '?' or '#'; write them as %3F and %23 in a file name")
    if parts.scheme == "memory":
        return Location(None, f"memory://{parts.netloc}{parts.path}")
    if parts.scheme != "sqlite":
        raise _refused(url, "the embedded broker knows sqlite:///file and memory://")
    name = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not name:
        raise _refused(
            url,
            "a file is sqlite:///name.db (relative) or sqlite:////folder/name.db, with three or four slashes",
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
                url,
                "behind a '?' it takes synchronous=full (the default) or synchronous=normal and nothing else; "
                "write a '?' in a file name as %3F",
            )


def _refused(url: str, why: str) -> UsageError:
    return UsageError(f"broker URL {url!r}: {why}")
