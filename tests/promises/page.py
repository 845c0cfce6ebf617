"""The page `docs/reliability/promises.md`, made of the table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from tests.promises.mutant import Mutant
from tests.promises.table import PROMISES, Promise
from tests.support.workers import ROOT

_WIDTH = 120
PAGE = ROOT / "docs" / "reliability" / "promises.md"

_HEAD = """\
# Promises, and what notices when one is broken

Below each promise stand ways to break it in the code, and the tests that fail then. `tests/promises/` carries each of
them out: it makes a copy of the checkout, breaks the promise there, and runs the tests, one of which has to fail; and
it runs the same tests unbroken, where all have to pass. That is part of `make test`. By hand:

    python -m tests.promises                 # each of them, a line for each; status 1 when nothing notices one
    python -m tests.promises "black hole"    # those with such a text
    python -m tests.promises --page          # write this page
"""


def page() -> str:
    """Return its text."""
    return "\n".join([_HEAD, *(line for promise in PROMISES for line in _section(promise))])


def _section(promise: Promise) -> Iterator[str]:
    yield f"## {promise.title}\n"
    yield textwrap.fill(promise.text, _WIDTH) + "\n"
    if promise.mutants:
        yield "| broken like this | noticed by |"
        yield "| --- | --- |"
        yield from map(_row, promise.mutants)
        yield ""


def _row(mutant: Mutant) -> str:
    tests = "<br>".join(f"`{each.replace('::', '` `')}`" for each in mutant.tests)
    return f"| {mutant.breaks} (`{mutant.file}`) | {tests} |"
