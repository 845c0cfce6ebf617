"""Every program in the documentation runs as it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guide.page import Page, all_pages
from tests.guide.stage import perform

PAGES = all_pages()

# Every block of a program that is not run, by page: the reasons, word for word.
NOT_RUN: dict[str, list[str]] = {
    "README.md": ["installs from the network; every CI run does the same by `make`"],
}


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES if page.blocks])
async def test_every_program_of_a_page_runs_as_it_is_printed(page: Page, tmp_path: Path) -> None:
    await perform(page, tmp_path)


def test_only_these_blocks_are_not_run() -> None:
    assert {page.name: page.skipped for page in PAGES if page.skipped} == NOT_RUN
