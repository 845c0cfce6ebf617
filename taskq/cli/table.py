"""Tables: drawn by rich on a terminal, plain aligned columns elsewhere, so that `grep` and `awk` can read them.

What comes from messages is made safe here, so that no job can steer a terminal: JSON, too, may be read on one.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import cast

from taskq.observability.safetext import one_line, printable_json

Rows = Sequence[Sequence[str]]


def show_table(columns: Sequence[str], rows: Rows, *, wide: int | None = None) -> None:
    """Print ``rows`` under ``columns``. ``wide`` is the column that may be folded where the terminal is narrow."""
    cells = [[_one_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cells, wide)
    else:
        print("\n".join(aligned([columns, *cells])))


def show_json(value: object) -> None:
    """Print a value as JSON for programs: one document, with letters of every script as they are.

    A number that JSON does not know (NaN, an infinity) is a text in it.
    """
    try:
        text = _json(value)
    except ValueError:
        text = _json(_finite(value))
    print(printable_json(text))


def aligned(rows: Rows) -> list[str]:
    """Return the rows as lines whose columns stand under each other, two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str, allow_nan=False)


def _finite(value: object) -> object:
    match value:
        case dict():
            return {str(name): _finite(each) for name, each in cast("dict[object, object]", value).items()}
        case list() | tuple():
            return [_finite(each) for each in cast("Sequence[object]", value)]
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value


def _one_line(cell: str) -> str:
    return one_line(" ".join(cell.split()))


def _draw(columns: Sequence[str], rows: Rows, wide: int | None) -> None:
    # ruff: noqa: PLC0415  # rich takes a tenth of a second to import, which pipes need not wait for
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold cyan")
    for index, name in enumerate(columns):
        table.add_column(name, overflow="fold", no_wrap=wide is not None and index != wide)
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
