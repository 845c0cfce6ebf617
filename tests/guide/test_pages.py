"""Every program in the documentation runs as it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guide.page import Page, all_pages, on_rabbitmq
from tests.guide.stage import perform

PAGES = all_pages()
TUTORIAL = [page for page in PAGES if page.name.startswith("docs/tutorial/") and page.blocks]

# Every block of a program that is not run, by page: the reasons, word for word.
NOT_RUN: dict[str, list[str]] = {
    "README.md": ["installs from the network; every CI run does the same by `make`"],
    "docs/guide/docker.md": 4
    * ["needs a Docker engine; tests/unit/test_docker.py holds the files against the project"],
}


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES if page.blocks])
async def test_every_program_of_a_page_runs_as_it_is_printed(page: Page, tmp_path: Path) -> None:
    await perform(page, tmp_path)


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in TUTORIAL])
async def test_every_page_of_the_tutorial_runs_on_rabbitmq_unchanged(page: Page, tmp_path: Path) -> None:
    await perform(on_rabbitmq(page), tmp_path)


def test_only_these_blocks_are_not_run() -> None:
    assert {page.name: page.skipped for page in PAGES if page.skipped} == NOT_RUN
