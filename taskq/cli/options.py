"""What several commands share: the words after the command, and options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from taskq.cli.complaint import Complaint
from taskq.tasks.options import HeaderValue


class WordsCommand(TyperCommand):
    """A command whose usage line is written by hand, since :mod:`taskq.cli.words` tells its words apart."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [self.options_metavar or ""]

    def get_short_help_str(self, limit: int = 1000) -> str:
        """Return the whole first sentence: a list of commands folds it where the terminal is narrow."""
        return super().get_short_help_str(1000)


Words = Annotated[list[str] | None, typer.Argument(hidden=True)]
AppDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The folder that modules are found in; else the working directory.")
]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="A header; repeat it for several. A value that is JSON is read as such."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def read_headers(given: list[str] | None) -> dict[str, HeaderValue]:
    """Return the headers of a command line. Raises :class:`Complaint`."""
    headers: dict[str, HeaderValue] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise Complaint(f"--header {text}: write NAME=VALUE")
        headers[name] = _value(value)
    return headers


def _value(text: str) -> HeaderValue:
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, HeaderValue) else text
