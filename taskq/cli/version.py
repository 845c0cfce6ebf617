"""``taskq version``."""

from __future__ import annotations

import typer

from taskq import __version__

command = typer.Typer(add_completion=False, rich_markup_mode=None)


@command.command()
def version() -> None:
    """Print the version."""
    print(__version__)
