"""What several commands share: the words after the command, and options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand


class WordsCommand(TyperCommand):
    """A command whose usage line is written by hand, since :mod:`taskq.cli.words` tells its words apart."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [self.options_metavar or ""]


Words = Annotated[list[str] | None, typer.Argument(hidden=True)]
AppDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The folder that modules are found in; else the working directory.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
