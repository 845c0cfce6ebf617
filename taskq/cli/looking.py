"""What the commands share that list what is on a broker: ``queues``, ``exchanges``, ``bindings``.

They need no app: without one, the broker of TASKQ_URL is looked at. With one, what it declares is asked for by name,
for brokers that answer no other question. Looking declares nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from taskq.app import TaskQ
from taskq.broker.protocol import Inspector, Listing
from taskq.cli.complaint import Complaint, say
from taskq.cli.loading import App, load_app
from taskq.cli.session import log_quietly, onlooker, run
from taskq.cli.table import show_json, show_table
from taskq.cli.words import default_app, optional_app
from taskq.settings import DEFAULT_URL, Settings
from taskq.tasks.registry import Registry

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Place:
    """A broker to look at. ``registry`` is what the app declares, empty without one; ``looking`` declares nothing."""

    registry: Registry
    looking: App

    def ask(self, question: Callable[[Inspector], Awaitable[Listing[Item]]]) -> Listing[Item]:
        """Connect, and return the answer to a question."""

        async def asked() -> Listing[Item]:
            async with self.looking as app:
                return await question(app.connection.broker.inspector)

        return run(asked())


def find_place(words: Sequence[str] | None, app_dir: Path | None) -> Place:
    """Return the broker of the app that ``words`` or TASKQ_APP name, else that of the settings.

    Raises :class:`Complaint` where there is nothing to look at.
    """
    reference = optional_app(words or (), default_app())
    app: App = load_app(reference, app_dir) if reference else TaskQ("taskq")
    settings = app.settings()
    _refuse_nothing(settings, named=reference is not None)
    log_quietly(settings)
    return Place(app.registry(settings), onlooker(app))


def show_listing(
    what: str,
    listing: Listing[Item],
    columns: Sequence[str],
    row: Callable[[Item], Sequence[object]],
    *,
    as_json: bool,
) -> None:
    """Print what was found. ``row`` has a value for each of ``columns``, which are the keys in JSON; the first is wide.

    In a table, what is ``None`` or empty is ``-``, so that each line has all columns. What is unknown altogether is
    said on standard error.
    """
    rows = [row(item) for item in listing.items]
    if as_json:
        found = [dict(zip(columns, values, strict=True)) for values in rows]
        return show_json({"source": listing.source, "unknown": listing.unknown, what: found})
    if rows:
        show_table(columns, [[_cell(value) for value in values] for values in rows], wide=0)
    else:
        print(f"no {what}")
    if listing.unknown is not None:
        say(listing.unknown)
    return None


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return ", ".join(f"{name}={each}" for name, each in pairs.items()) or "-"
    return "-" if value is None or value == "" else str(value)


def _refuse_nothing(settings: Settings, *, named: bool) -> None:
    if settings.url.startswith("memory:"):
        raise Complaint("memory:// lives inside one program, and this command is another; set TASKQ_URL to a broker")
    if not named and settings.by_default and not Path(DEFAULT_URL.removeprefix("sqlite:///")).exists():
        raise Complaint(f"no broker: set TASKQ_URL, or write MODULE:APP (there is no {DEFAULT_URL} here either)")
