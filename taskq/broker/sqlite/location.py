"""Where a database is: the URL of an embedded broker, read. Pure, but for the working directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from taskq.errors import UsageError


@dataclass(frozen=True, slots=True)
class Location:
    """A file (``path``), or a database in memory (``path`` is ``None``). ``label`` is the absolute URL."""

    path: Path | None
    label: str


def read_location(url: str) -> Location:
    """Read ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``memory://`` or ``memory://name``.

    Raises :class:`UsageError` for anything else.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise UsageError(f"broker URL {url!r}: it takes no '?' or '#'; write them as %3F and %23 in a file name")
    if parts.scheme == "memory":
        return Location(None, f"memory://{parts.netloc}{parts.path}")
    if parts.scheme != "sqlite":
        raise UsageError(f"broker URL {url!r}: the embedded broker knows sqlite:///file and memory://")
    name = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not name:
        raise UsageError(
            f"broker URL {url!r}: a file is sqlite:///name.db (relative) or sqlite:////folder/name.db, "
            "with three or four slashes"
        )
    path = Path(name).absolute()
    return Location(path, f"sqlite:///{quote(str(path))}")
